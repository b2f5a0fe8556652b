output "addresses" {
  description = "Address of each node."
  value       = { for name, node in toy_node.node : name => node.address }
}
