// Package proof makes the logins that prove passwords of roles.
//
// It decides where a password may be sent, and how often one may be refused: an address must be allowed by the connection
// and by the mount's settings at the time of the login, and each login is counted in storage before it is made. See
// [lockout.Proofs].
//
// The package does not decide when to log in, with which passwords, and what the results mean: see package role. It never
// changes a role.
package proof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/lockout"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/verify"
)

// Prover makes logins. Its methods may be called concurrently.
type Prover struct {
	Guards *lockout.Guards
	Logger hclog.Logger
	// Login makes a login outside the cloud's API; nil: verify.Login.Prove does.
	Login func(context.Context, verify.Login) provider.Proof
}

// atOnce is how many parts are logged in to at a time.
const atOnce = 8

// Round logs in with these passwords, in this order, on each part of the account, until one works there or a login cannot
// tell. Logins that are not made before ctx ends cannot tell. The errors are those of Prove, with problem.ErrFull and
// problem.ErrPanicked; then the logins are those that were made.
func (p Prover) Round(ctx, waiting context.Context, s lockout.Store, h *connection.Handle, r *role.Role, parts []string, passwords []credential.Password) ([]role.LoginResult, error) {
	if len(parts) == 0 {
		parts = []string{""}
	}
	found := make([][]role.LoginResult, len(parts))
	group := new(errgroup.Group)
	group.SetLimit(atOnce)
	for i, part := range parts {
		group.Go(func() (err error) {
			defer func() {
				if problem.LogPanic(p.Logger, recover(), "logging in", "role", r.Name) {
					err = problem.ErrPanicked
				}
			}()
			for _, password := range role.FirstAt(r, part, passwords) {
				login, err := p.Prove(ctx, waiting, s, h, r, part, password)
				switch {
				case errors.Is(err, lockout.ErrFull):
					return problem.ErrFull
				case err != nil && ctx.Err() != nil:
					login.Proof = provider.Proof{Verdict: provider.CannotTell, Unsent: true, Reason: "no login was made, because there was no time left"}
				case err != nil:
					return err
				}
				found[i] = append(found[i], login)
				if login.Verdict != provider.Refused {
					return nil
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return slices.Concat(found...), err //nolint:wrapcheck // it is one of those that the comment lists
}

// Prove logs in with a password of the role, at a part of the account if it has parts, and counts the login. The role has
// its long options. waiting is how long to wait until the login may be made; nil: not at all.
//
// An error means that the login was not made and can be made later: [lockout.ErrFull] if the caller does not wait, that of a
// context, or a storage error.
func (p Prover) Prove(ctx, waiting context.Context, s lockout.Store, h *connection.Handle, r *role.Role, part string, password credential.Password) (role.LoginResult, error) {
	out := role.LoginResult{Version: password.Version, Part: part}
	way, err := p.wayOf(h, r, part)
	if err != nil {
		out.Proof = provider.Proof{Verdict: provider.CannotTell, Unsent: true, Reason: err.Error()}
		return out, nil
	}
	attempt, err := p.Guards.Proofs(way.account, way.sender).Take(ctx, waiting, s)
	if blocked, ok := errors.AsType[*lockout.BlockedError](err); ok {
		out.Until = blocked.Until
		out.Proof = provider.Proof{Verdict: provider.CannotTell, Unsent: true, Reason: Spent(blocked)}
		return out, nil
	}
	if err != nil {
		return out, err //nolint:wrapcheck // it is one of those that the comment lists
	}
	out.Proof = provider.Proof{Verdict: provider.CannotTell} // after a panic, it may have been refused
	defer func() { attempt.Answered(out.Proof) }()
	out.Proof, err = way.login(ctx, waiting, s, password.Value)
	return out, err
}

// Spent says why a login was not made.
func Spent(blocked *lockout.BlockedError) string {
	return fmt.Sprintf("no login was made: %d logins were refused, or may have been, and more could block Vault there", blocked.Refused)
}

// way is a way to log in.
type way struct {
	// account is what refused logins are counted for, and sender is how the server counts them itself.
	account string
	sender  provider.Sender
	login   func(ctx, waiting context.Context, s lockout.Store, password string) (provider.Proof, error)
}

// wayOf returns how to log in to a part of the account, or an error that says why that is not possible.
func (p Prover) wayOf(h *connection.Handle, r *role.Role, part string) (way, error) {
	logins, err := Logins(h, r)
	at := slices.IndexFunc(logins, func(l Login) bool { return l.Part == part })
	if err != nil || at < 0 {
		return way{}, cmp.Or(err, errors.New("the role does not verify passwords"))
	}
	login := logins[at].Login
	if login.Kind == provider.LoginWebCLI {
		return way{
			account: login.Kind + "|" + r.Target.Address + "|" + r.Target.Identities[0],
			login: func(ctx, waiting context.Context, s lockout.Store, password string) (provider.Proof, error) {
				found, err := throughAPI(ctx, waiting, s, h, r.Target, password)
				if found.Verdict == provider.Refused && !r.Proofs.Worked { // it is not documented that these accounts may log in there
					found.Verdict = provider.CannotTell
					found.Reason += ", as every login of this role so far: this instance may not let its account log in there"
				}
				return found, err
			},
		}, nil
	}
	return way{
		account: login.Kind + "|" + login.Address + "|" + login.Username, sender: login.Sender(),
		login: func(ctx, _ context.Context, _ lockout.Store, password string) (provider.Proof, error) {
			ctx, cancel := context.WithTimeout(provider.WithHosts(ctx, h.Limits().Hosts), h.Timeout())
			defer cancel()
			login.Password = password
			if p.Login != nil {
				return p.Login(ctx, login), nil
			}
			return login.Prove(ctx), nil
		},
	}, nil
}

// throughAPI logs in through the remote system's own API, with the connection's credential.
func throughAPI(ctx, waiting context.Context, s lockout.Store, h *connection.Handle, target provider.Target, password string) (provider.Proof, error) {
	proof := provider.Proof{Verdict: provider.CannotTell, Unsent: true, Reason: "the connection cannot log in through the remote system's API"}
	_, err := h.Call(ctx, waiting, s, func() error { return nil }, func(ctx context.Context, client provider.Client) provider.Result {
		prover, ok := client.(provider.Prover)
		if !ok {
			return provider.Unsendable(provider.ScopeTarget, proof.Reason)
		}
		result, found := prover.Prove(ctx, target, password)
		proof = found
		return result
	})
	switch {
	case errors.Is(err, problem.ErrFull): // it can be made soon
		return provider.Proof{Verdict: provider.CannotTell, Unsent: true}, problem.ErrFull
	case err != nil:
		return provider.Proof{Verdict: provider.CannotTell, Unsent: true, Reason: "no login was made: " + err.Error()}, nil //nolint:nilerr // nothing was sent
	}
	return proof, nil
}
