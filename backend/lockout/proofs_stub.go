package lockout

import (
	"context"

	"vault-plugin-secrets-hosting/backend/provider"
)

type Proofs struct{}
type Attempt struct{}

func (g *Guards) Proofs(account string, server provider.Sender) *Proofs { return &Proofs{} }
func (p *Proofs) Take(ctx, waiting context.Context, s Store) (*Attempt, error) {
	return &Attempt{}, nil
}
func (a *Attempt) Answered(ctx context.Context, s Store, refused, lost bool) {}
