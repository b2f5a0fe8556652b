variable "nodes" {
  description = "Nodes of the cluster, by name."
  type = map(object({
    size = string
    pool = string
  }))
}
