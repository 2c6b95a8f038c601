// Package registry lists the providers. To add a provider, create a package next to this one and add it to [All].
package registry

import (
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/dcs"
	"vault-plugin-secrets-hosting/backend/provider/ecs"
	"vault-plugin-secrets-hosting/backend/provider/mediatemple"
	"vault-plugin-secrets-hosting/backend/provider/plesk"
)

// All returns every provider, sorted by name. Providers are stateless and safe for concurrent use.
func All() []provider.Type {
	return []provider.Type{
		dcs.Type{},
		ecs.Type{},
		mediatemple.Type{},
		plesk.Type{},
	}
}
