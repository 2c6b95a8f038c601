// Package registry lists the providers. A new provider is a package beside this one and a line in [All].
package registry

import (
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/dcs"
	"vault-plugin-secrets-hosting/backend/provider/ecs"
	"vault-plugin-secrets-hosting/backend/provider/mediatemple"
	"vault-plugin-secrets-hosting/backend/provider/plesk"
)

// All returns every provider, sorted by name. Providers have no state and may be used concurrently.
func All() []provider.Type {
	return []provider.Type{
		dcs.Type{},
		ecs.Type{},
		mediatemple.Type{},
		plesk.Type{},
	}
}

// ByName returns the provider with that name, if there is one.
func ByName(name string) (provider.Type, bool) {
	for _, t := range All() {
		if t.Name() == name {
			return t, true
		}
	}
	return nil, false
}
