# All that the reader of one password needs.
path "hosting/creds/web1" {
  capabilities = ["read"]
}
