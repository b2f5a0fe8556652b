variable "name" { type = string }
variable "nodes" { type = map(object({ size = string, zone = string })) }
resource "terraform_data" "control" {
  input = { name = var.name, version = "1.31.4", zones = ["a", "b", "c"] }
}
resource "terraform_data" "node" {
  for_each         = var.nodes
  input            = { cluster = var.name, size = each.value.size, zone = each.value.zone, labels = { pool = each.key, env = "prod" } }
  triggers_replace = [each.value.zone]
}
output "ids" { value = { for k, n in terraform_data.node : k => n.id } }
