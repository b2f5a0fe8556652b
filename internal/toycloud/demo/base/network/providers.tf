terraform {
  required_version = ">= 1.5"

  required_providers {
    toy = {
      source  = "plumbline-dev/toy"
      version = "~> 1.0"
    }
  }
}

# Endpoint and token come from TOY_ENDPOINT and TOY_TOKEN.
provider "toy" {}
