# Vault Agent configuration: renders the password of the role "web1" of a mount at hosting/ to a file, and runs a command
# whenever it changes. Adapt the address, the mount and "web1" in all files of this folder. See README.md for the setup.

vault {
  address = "https://vault.example.com:8200"
  # ca_cert = "/etc/vault-agent/ca.pem" # if a private CA issued Vault's certificate
}

auto_auth {
  method {
    type       = "approle"
    mount_path = "auth/approle"

    config = {
      role_id_file_path   = "/etc/vault-agent/role-id"
      secret_id_file_path = "/etc/vault-agent/secret-id"

      # Keep the file so that the Agent can log in again after a reboot. The SecretID is valid from this host only.
      remove_secret_id_file_after_reading = false
    }
  }
  # No sink: nothing else needs the token.
}

template_config {
  # While Vault is unreachable, the Agent retries and the file keeps its last password.
  exit_on_retry_failure = false

  # No interval to set: the Agent reads the password again when the "ttl" in Vault's response has passed.
  # static_secret_render_interval does not apply.
}

template {
  source      = "/etc/vault-agent/password.ctmpl"
  destination = "/run/vault-agent/web1.password" # /run is in memory: the password never reaches a disk
  perms       = "0600"

  # Fail on a misspelt field instead of rendering "<no value>".
  error_on_missing_key = true

  # Runs after each change of the file, as the Agent's user. The Agent does not retry it if it fails.
  exec {
    command = ["/etc/vault-agent/changed.sh", "/run/vault-agent/web1.password"]
    timeout = "30s"
  }
}
