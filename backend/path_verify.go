package backend

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/proof"
	"vault-plugin-secrets-hosting/backend/rotation"
)

func (b *Backend) verifyPaths() []*framework.Path {
	fields := outcomeFields()
	fields["proofs"] = &framework.FieldSchema{
		Type: framework.TypeSlice, Required: true,
		Description: "What is known of each password: its version, server if the role has several, result (works, refused, cannot_tell or not_tried) and reason.",
	}
	fields["next_attempt_time"] = &framework.FieldSchema{
		Type:        framework.TypeString,
		Description: "When more passwords can be tried, in RFC 3339. Absent if the number of refused logins does not limit it.",
	}
	path := func(verb, summary, synopsis, help string, prove prover) *framework.Path {
		return &framework.Path{
			Pattern:      verb + "-role/" + framework.GenericNameRegex("name"),
			Fields:       map[string]*framework.FieldSchema{"name": nameField("role")},
			DisplayAttrs: display(verb, "role"),
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.UpdateOperation: writes(prove.handler(b), summary, response("State of the role, and what is known of its passwords.", fields)),
			},
			HelpSynopsis:    synopsis,
			HelpDescription: strings.TrimSpace(help),
		}
	}
	return []*framework.Path{
		path("verify", "Prove which password of a role works.", "Prove by a login which password of a role works.", verifyHelp, (*rotation.Engine).VerifyRole),
		path("recover", "Find the password of a role that works.", "Find the password of a role that works, and use it.", recoverHelp, (*rotation.Engine).RecoverRole),
	}
}

// prover is a method of the engine that tries passwords of a role.
type prover func(*rotation.Engine, context.Context, logical.Storage, string) (*rotation.Proved, error)

// handler returns the handler of a path that tries passwords of a role.
func (prove prover) handler(b *Backend) framework.OperationFunc {
	return func(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
		name, _ := d.Get("name").(string)
		switch view, err := b.engine.Role(ctx, req.Storage, name); {
		case err != nil:
			return fail(name, err)
		case view == nil:
			return fail(name, problem.ErrNoRole)
		case !view.Options.Proves():
			return logical.ErrorResponse("role %q has verify=none, so no login can prove its password: write the kind of login to verify in roles/%s. vault path-help %sroles/%s lists the kinds, and what each requires", name, name, mountPlaceholder, name), nil
		}
		proved, err := prove(b.engine, ctx, req.Storage, name)
		if err != nil {
			return fail(name, err)
		}
		resp, err := outcome(name, proved.Report, nil)
		if err == nil {
			resp.Data["proofs"] = proofsData(proved.Tried)
			putTime(resp.Data, "next_attempt_time", proved.Until)
		}
		return resp, err
	}
}

// proofsData returns what is known of each password.
func proofsData(tried []proof.Tried) []map[string]any {
	out := make([]map[string]any, 0, len(tried))
	for _, t := range tried {
		one := map[string]any{"version": t.Version, "result": t.Verdict, "reason": t.Reason}
		put(one, "server", t.Server)
		out = append(out, one)
	}
	return out
}

const verifyHelp = `
Logs in with the passwords of the role that may be in force, as the role's verify says, and returns what that proves for each
of them. It changes no password. It is useful after somebody else may have changed the password, and when a role is
uncertain or waits for a restart: the password that works is then in force.

The result of a password is one of:

  works        The login succeeded.
  refused      The server refused this password for this account.
  cannot_tell  Neither: the server cannot be reached, has another host key or certificate, does not accept passwords, or has
               locked the account. It proves nothing about the password.
  not_tried    Another password works, or one more refused login could lock the account.

At most two logins for an account and address are refused within 15 minutes (for Plesk: for a server, over all its accounts).
If that number is reached, next_attempt_time says when more passwords can be tried. No password is returned.

The role needs verify; without it, the request fails with status 400. Use vault write -f -format=json to read the list.
`

const recoverHelp = `
Like verify-role, but tries all passwords of the role that Vault has: the next one, those that may be valid, the current and
the previous one, and the history. The first that works is in force from then on, and creds/:name returns it. Use it when a
role is drifted: somebody may have restored a backup, or set an older password again. It sets no password.

If too many logins would be refused at once, the request tries some of the passwords, and next_attempt_time says when to
repeat it. If none works, the password was set outside Vault: write it to confirm-role/:name, or rotate the role if setting a
new password does not require the current one.
`
