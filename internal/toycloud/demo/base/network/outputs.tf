output "cidr" {
  description = "Addresses of the network."
  value       = toy_network.main.cidr
}
