# Allows reading one password and nothing else.
path "hosting/creds/web1" {
  capabilities = ["read"]
}
