package verify

import "vault-plugin-secrets-hosting/backend/provider"

func (l Login) Sender() provider.Sender { return provider.Sender{} }
