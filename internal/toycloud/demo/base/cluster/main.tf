module "labels" {
  source    = "../modules/labels"
  component = "cluster"
}

data "toy_image" "node" {
  name = "debian"
}

resource "toy_cluster" "main" {
  name    = "main"
  network = "main" # from the workspace network
  version = "1.33"
}

resource "toy_node" "node" {
  for_each = var.nodes

  cluster = toy_cluster.main.id
  name    = each.key
  size    = each.value.size
  pool    = each.value.pool
  image   = data.toy_image.node.reference
  labels  = module.labels.labels
}
