variable "component" {
  description = "Part of the system that the labelled things belong to."
  type        = string
}

output "labels" {
  description = "Labels, or tags, that everything carries."
  value = {
    component  = var.component
    managed-by = "terraform"
    team       = "platform"
  }
}
