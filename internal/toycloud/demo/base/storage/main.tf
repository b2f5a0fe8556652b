module "labels" {
  source    = "../modules/labels"
  component = "storage"
}

locals {
  buckets = {
    assets = { versioning = false, readers = ["everyone"] }
    logs   = { versioning = true, readers = ["auditors"] }
  }
}

resource "toy_bucket" "bucket" {
  for_each = local.buckets

  name       = each.key
  versioning = each.value.versioning
  tags       = module.labels.labels
  policy     = jsonencode({ read = each.value.readers })
}
