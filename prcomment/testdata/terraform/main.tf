variable "nodes" {
  type = map(object({ size = string, zone = string }))
  default = {
    "general"   = { size = "m6.xlarge", zone = "a" }
    "gpu \"x\"" = { size = "g5.xlarge", zone = "a" }
    "new"       = { size = "m6.large", zone = "c" }
  }
}
variable "token" {
  type      = string
  sensitive = true
  default   = "canary-token-77aa10"
}
module "cluster" {
  source = "./m/cluster"
  name   = "blue"
  nodes  = var.nodes
}
resource "terraform_data" "policy" {
  input = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Sid = "Read", Effect = "Allow", Action = ["s3:GetObject", "s3:ListBucket", "s3:PutObject"], Resource = "arn:aws:s3:::logs/*" },
      { Sid = "Deny", Effect = "Deny", Action = "s3:DeleteBucket", Resource = "*" },
    ]
  })
}
resource "terraform_data" "boot" {
  input = <<-EOT
    #!/bin/bash
    set -euo pipefail
    # ``` a fence, and a </details> too
    apt-get update
    apt-get install -y nginx curl
    echo "listen 80" > /etc/nginx/conf.d/a
    systemctl enable nginx
    systemctl start nginx
    echo done
    ````` longer
  EOT
}
resource "terraform_data" "secret" {
  input = { user = "app2", password = var.token, port = 5432, hosts = ["db1", "db3"] }
}
resource "terraform_data" "lists" {
  input = { cidrs = ["10.0.0.0/8", "10.9.0.0/16", "192.168.0.0/16"], rules = [{ port = 80, from = "any" }, { port = 8443, from = "any" }, { port = 22, from = "vpn" }], tags = { env = "prod", owner = "data", "a.b/c d" = "y" }, on = false, n = 3 }
}
resource "terraform_data" "moved_to" { input = "stays" }
moved {
  from = terraform_data.moved_from
  to   = terraform_data.moved_to
}
removed {
  from = terraform_data.forgotten
  lifecycle { destroy = false }
}
resource "terraform_data" "counted" {
  count = 2
  input = "n${count.index}"
}
resource "terraform_data" "tainted" { input = "x" }
resource "terraform_data" "trigger" { input = "2" }
resource "terraform_data" "triggered" {
  input = "t"
  lifecycle { replace_triggered_by = [terraform_data.trigger] }
}
resource "terraform_data" "cbd" {
  input            = "c"
  triggers_replace = "2"
  lifecycle { create_before_destroy = true }
}
resource "terraform_data" "imported" { input = "adopt me" }
import {
  to = terraform_data.imported
  id = "an-id-from-elsewhere"
}
check "endpoint" {
  assert {
    condition     = length(terraform_data.lists.input.cidrs) == 4
    error_message = "There should be four ranges, @platform."
  }
}
output "endpoint" { value = "https://green.example.com" }
output "token" {
  value     = var.token
  sensitive = true
}
output "fresh" { value = terraform_data.trigger.output }
