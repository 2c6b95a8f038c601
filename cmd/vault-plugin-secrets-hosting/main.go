// Command vault-plugin-secrets-hosting is a secrets engine for HashiCorp Vault. Vault starts it; register it in Vault's
// plugin catalog and enable it at a path, as the README says.
package main

import (
	"fmt"
	"io"
	"log"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/sdk/plugin"

	"vault-plugin-secrets-hosting/backend"
)

// version is set by the linker. Vault wants the version that a plugin reports to be the one it was registered with.
var version = "v0.0.0-dev"

func main() {
	if len(os.Args) == 2 && (os.Args[1] == "-version" || os.Args[1] == "--version") {
		fmt.Println(version)
		return
	}
	// net/http writes to Go's standard logger what a server sends without being asked, which could be anything. What this
	// plugin has to say goes through Vault's logger.
	log.SetOutput(io.Discard)
	meta := &api.PluginAPIClientMeta{}
	if err := meta.FlagSet().Parse(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	err := plugin.ServeMultiplex(&plugin.ServeOpts{
		BackendFactoryFunc: backend.Factory(version),
		TLSProviderFunc:    api.VaultPluginTLSProvider(meta.GetTLSConfig()),
	})
	if err != nil { // the only one is that of mlock
		logger := hclog.New(&hclog.LoggerOptions{JSONFormat: true}) // Vault logs anything else at level debug
		logger.Error("the plugin may not lock its memory: run setcap cap_ipc_lock=+ep on its binary, or set disable_mlock=true in Vault's configuration", "error", err)
		os.Exit(1)
	}
}
