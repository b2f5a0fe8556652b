output "access_keys" {
  description = "Key to each bucket."
  value       = { for name, bucket in toy_bucket.bucket : name => bucket.access_key }
  sensitive   = true
}
