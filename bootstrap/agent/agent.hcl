# Vault Agent: writes the password of the role "web1" of a mount at hosting/ into a file, and runs a command when it has changed.
# What to adapt: the address, and "web1" in all files of this folder. README.md says how to set it up.

vault {
  address = "https://vault.example.com:8200"
  # ca_cert = "/etc/vault-agent/ca.pem" # where Vault's certificate is one of your own authority
}

auto_auth {
  method {
    type       = "approle"
    mount_path = "auth/approle"

    config = {
      role_id_file_path   = "/etc/vault-agent/role-id"
      secret_id_file_path = "/etc/vault-agent/secret-id"

      # Kept, so that the Agent can log in again after a reboot; the secret id is good from this host only.
      remove_secret_id_file_after_reading = false
    }
  }
  # No sink: nobody else needs the token.
}

template_config {
  # When Vault cannot be reached, the file keeps the password that it has and the Agent goes on trying.
  exit_on_retry_failure = false

  # There is no interval to set: the Agent reads again when the ttl is over that Vault gives with the password, and
  # static_secret_render_interval has no influence on that.
}

template {
  source      = "/etc/vault-agent/password.ctmpl"
  destination = "/run/vault-agent/web1.password" # in memory, so that no disk has it
  perms       = "0600"

  # A misspelt field is an error, not a file with "<no value>" in it.
  error_on_missing_key = true

  # Runs after each change of the file, as the Agent's user. It is not repeated when it fails.
  exec {
    command = ["/etc/vault-agent/changed.sh", "/run/vault-agent/web1.password"]
    timeout = "30s"
  }
}
