package connections

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/lockout"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
)

// View is a connection with its derived values and without its secrets.
type View struct {
	connection.Options
	Provider string
	// Settings are the provider's own fields.
	Settings provider.Settings
	// CredentialFields are the names of the fields that the credential consists of.
	CredentialFields []string
}

// Read returns a connection, or problem.ErrNoConnection.
func (c *Connections) Read(ctx context.Context, storage logical.Storage, name string) (*View, error) {
	stored, err := store.Store{Storage: storage}.Connection(ctx, name)
	if err != nil {
		return nil, problem.Storage("reading connection "+name, err)
	}
	if stored == nil {
		return nil, problem.ErrNoConnection
	}
	kind, completed, err := c.Cache.Complete(*stored)
	if err != nil {
		return nil, err
	}
	view := &View{Options: stored.Options, Provider: stored.Provider, Settings: provider.Settings{}}
	view.Address = completed.URL
	for _, field := range kind.ConnectionFields() {
		if !field.Secret && completed.Settings.Has(field.Name) {
			view.Settings[field.Name] = completed.Settings[field.Name]
		}
	}
	for _, name := range slices.Concat(kind.CredentialForms()...) {
		if completed.Settings.Has(name) {
			view.CredentialFields = append(view.CredentialFields, name)
		}
	}
	return view, nil
}

// Exists reports whether a connection is stored, even one that is damaged or no longer valid.
func (c *Connections) Exists(ctx context.Context, storage logical.Storage, name string) (bool, error) {
	stored, err := store.Store{Storage: storage}.Connection(ctx, name)
	if errors.Is(err, store.ErrDamaged) {
		return true, nil
	}
	return stored != nil, problem.Storage("reading connection "+name, err)
}

// List lists the names of all connections.
func (c *Connections) List(ctx context.Context, storage logical.Storage) ([]string, error) {
	names, err := storage.List(ctx, store.ConnectionPrefix)
	return names, problem.Storage("listing connections", err)
}

// configWrite is one write of a connection.
type configWrite struct {
	*Connections
	s    store.Store
	name string
	// before is the stored connection, or nil. h is the new one, which is not cached yet.
	before *connection.Connection
	h      *connection.Handle
	// damaged: the stored connection cannot be decoded, and is replaced.
	damaged bool
	// allowed are the limits of the mount.
	allowed connection.Limits
	// force: the operator accepts what a refusal costs.
	force bool
	// refused: the credential was refused before, so that a presumption pays for no attempt.
	refused bool
	// warnings are for the user.
	warnings []string
}

// Write creates or updates a connection. Unless verify_connection is false, it first checks a new address, TLS setting or
// credential with a read-only call. With patch.Force, it makes the check even if the remote system could lock the credential
// then. If it returns an error, nothing was stored, or storage failed.
func (c *Connections) Write(ctx context.Context, storage logical.Storage, name string, patch connection.Patch) error {
	leave, err := c.Enter("connection", name, false)
	if err != nil {
		return err
	}
	defer leave()
	unlock, err := c.writing.Lock(ctx, name)
	if err != nil {
		return beingWritten(name)
	}
	defer unlock()
	w := &configWrite{Connections: c, s: store.Store{Storage: storage}, name: name, force: patch.Force}
	w.before, err = w.s.Connection(ctx, name)
	if w.damaged = errors.Is(err, store.ErrDamaged); err != nil && !w.damaged {
		return problem.Storage("reading connection "+name, err)
	}
	fresh, err := w.apply(ctx, patch)
	if err != nil {
		return err
	}
	for _, check := range []func(context.Context) error{w.checkLogins, w.checkRoles} { // before a call is made with it
		if err := check(ctx); err != nil {
			return err
		}
	}
	switch {
	case fresh && (w.h.VerifyConnection || w.force):
		if err := w.verify(ctx, false); err != nil {
			return err
		}
	case fresh:
		same, _, err := w.h.Tried(ctx, w.s)
		if err != nil {
			return err
		}
		w.refused = same != nil
		if w.replacesWorking(ctx) {
			w.warnings = append(w.warnings, explain.StoredUnchecked)
		}
	case patch.HasSecret(w.h.Kind):
		if fresh, err = w.again(ctx); err != nil {
			return err
		}
	}
	if err := w.replace(ctx, fresh); err != nil {
		return err
	}
	if w.before != nil && !w.before.TLS.Insecure && w.h.TLS.Insecure {
		w.warnings = append(w.warnings, explain.InsecureTLS(name))
	}
	if patch.Warn != nil {
		for _, warning := range w.warnings {
			patch.Warn(warning)
		}
	}
	return nil
}

// replacesWorking reports whether the connection gets another secret in place of one that is not known to be refused.
func (c *configWrite) replacesWorking(ctx context.Context) bool {
	h, err := c.Handle(ctx, c.s, c.name)
	return err == nil && h.Paused() == nil && slices.ContainsFunc(h.Kind.ConnectionFields(), func(f provider.Field) bool {
		return f.Secret && !connection.Equal(h.Settings[f.Name], c.h.Settings[f.Name])
	})
}

func beingWritten(name string) error {
	return problem.Busy("nothing was changed, because another request is writing connection %q. Try again", name)
}

// apply validates the new connection and opens it. fresh means that its address, a TLS setting or its credential is new.
func (c *configWrite) apply(ctx context.Context, patch connection.Patch) (fresh bool, err error) {
	next, kind, err := patch.Apply(c.name, c.before, c.Types)
	if err != nil {
		return false, problem.Mistake("%s", err)
	}
	completed, err := next.Complete(kind)
	if err != nil {
		return false, problem.Mistake("%s", err)
	}
	if err := next.Validate(); err != nil {
		return false, problem.Mistake("%s", err)
	}
	if c.allowed, err = c.limits(ctx, c.s); err != nil {
		return false, err
	}
	if err := c.allowed.Refuses(kind, completed); err != nil {
		return false, problem.Mistake("%s", err)
	}
	if fresh, err = patch.Compare(c.before, next, kind, completed); err != nil {
		return false, problem.Mistake("%s", err)
	}
	if c.before != nil && c.before.Address != next.Address {
		next.System = "" // until it is checked
	}
	if c.before == nil || c.before.PasswordPolicy != next.PasswordPolicy {
		if err := c.TryPolicy(ctx, *next, kind.Rules(completed, provider.Target{}), c.allowed.MinPasswordBits); err != nil {
			return false, err
		}
	}
	if c.h, err = c.Cache.Open(*next, c.allowed); err != nil {
		return false, problem.Mistake("%s", err)
	}
	return fresh, nil
}

// again handles a credential that an operator writes again because it works now: a pause or a hold ends if it does. If it does
// not, nothing changes, which is an error only if the connection is paused. With verify_connection=false, the attempts that
// are left may be made. If there is nothing to end, nothing is done: tools write a credential often.
func (c *configWrite) again(ctx context.Context) (fresh bool, err error) {
	h, err := c.Handle(ctx, c.s, c.name)
	if err != nil {
		return false, err
	}
	pause, err := c.s.Pause(ctx, c.name) // of an earlier revision, if a write could not be completed
	if err != nil {
		return false, problem.Storage("reading the pause of connection "+c.name, err)
	}
	_, next, ok, err := h.Guard.Left(ctx, c.s)
	if err != nil {
		return false, problem.Storage("reading how often the credential was refused", err)
	}
	spent := h.Guard.Counts() && (!ok || !next.IsZero())
	paused := spent || h.Paused() != nil || pause != nil || c.Health.IsPaused(c.name)
	switch {
	case !paused && !c.force && !h.Guard.HeldUntil().After(c.Now()):
		c.warnings = append(c.warnings, explain.SecretUnchanged)
		return false, nil
	case c.h.VerifyConnection || c.force:
		if err := c.verify(ctx, true); err != nil {
			if paused || c.force {
				return false, err
			}
			return false, nil
		}
	case spent:
		return false, problem.Mistake("%s", explain.NotTried("one more refusal could lock its login", "", time.Time{}, time.Time{}))
	case paused:
		c.refused = true
	}
	stored := c.h.Connection
	stored.Revision++
	c.h, err = c.Cache.Open(stored, c.allowed)
	return true, err
}

// replace stores the connection, drops the cached one and retries the roles that waited for it.
func (c *configWrite) replace(ctx context.Context, fresh bool) error {
	unlock, err := c.Index.Lock(ctx, c.name)
	if err != nil {
		return problem.ErrGivenUp
	}
	defer unlock()
	if err := c.checkRoles(ctx); err != nil { // not under the lock of all targets: there may be many
		return err
	}
	ticket, err := c.store(ctx)
	if err != nil {
		return err
	}
	if !fresh {
		c.Retry(c.name) // it may allow roles now that it did not
		return nil
	}
	if err := c.h.Guard.Renew(ctx, c.s, c.h.VerifyConnection || c.force, !c.refused); err != nil {
		c.Logger.Warn("could not reset the lockout guard of a connection", "connection", c.name, "error", err)
	} else if now, err := c.limits(ctx, c.s); err == nil && reflect.DeepEqual(now, c.allowed) { //nolint:govet // neither has an error; its client may have a token since the check
		c.Cache.Keep(c.h, ticket)
	}
	if err := c.s.Delete(ctx, store.PausePrefix+c.name); err != nil { // a pause of an older revision has no effect
		c.Logger.Warn("could not delete an old pause of a connection", "connection", c.name, "error", err)
	}
	c.opened(c.name)
	return nil
}

// store stores the connection, drops the cached one, and returns a ticket to cache it.
func (c *configWrite) store(ctx context.Context) (ticket int, err error) {
	unlock, err := c.Index.Lock(ctx, "")
	if err != nil {
		return 0, problem.ErrGivenUp
	}
	defer unlock()
	if err := c.checkLogins(ctx); err != nil {
		return 0, err
	}
	if err := c.s.Removable(ctx, store.PausePrefix+c.name); err != nil {
		return 0, problem.Storage("reading the pause of connection "+c.name, err)
	}
	err = c.s.PutConnection(ctx, &c.h.Connection)
	c.Cache.Drop(c.name) // even after an error, it may have been stored
	_, ticket = c.Cache.Get(c.name)
	return ticket, problem.NotStored("storing connection "+c.name, err)
}

// lockHint is the shortest wait that a remote system asks for when it has locked a login rather than being busy.
const lockHint = time.Minute

// verify checks the connection with one read-only call. inUse: it has this credential already.
func (c *configWrite) verify(ctx context.Context, inUse bool) error {
	same, last, err := c.h.Tried(ctx, c.s)
	if err != nil {
		return err
	}
	if same != nil && !c.force && c.h.Guard.Costly() {
		return problem.Mistake("%s", explain.TriedBefore(same.By, same.Time))
	}
	result, err := c.h.Try(ctx, c.s, lockout.Trial{By: c.name, InUse: inUse, Refused: inUse || same != nil, Force: c.force})
	var spent *lockout.SpentError
	var blocked *lockout.BlockedError
	switch {
	case errors.As(err, &spent):
		by, at := "", time.Time{}
		if last != nil {
			by, at = last.By, last.Time
			if spent.By == by { // once is enough
				spent.By = ""
			}
		}
		again := spent.Forgotten
		if inUse {
			again = time.Time{}
		}
		return problem.Mistake("%s", explain.NotTried(spent.Error(), by, at, again))
	case errors.As(err, &blocked):
		return problem.Mistake("%s", explain.NotTried(blocked.Error(), "", time.Time{}, blocked.Until))
	case errors.Is(err, problem.ErrGivenUp):
		return problem.Busy("the connection was not stored, because other calls are using its credential. Try again")
	case err != nil:
		return err
	}
	if result.Outcome != provider.Applied {
		c.Logger.Warn("connection not stored: its check failed", "connection", c.name, "provider", c.h.Provider,
			"outcome", result.Outcome, "code", result.Code, "reason", result.Reason)
	}
	failure := explain.CheckFailure(result)
	const unchecked = "To store it unchecked, add verify_connection=false"
	switch {
	case result.Outcome == provider.Applied:
		c.h.System = result.System
		return nil
	case result.Outcome == provider.Denied && c.before != nil:
		return problem.Mistake("the connection was not stored, because its check failed: %s. It keeps the credential that it has", failure)
	case result.Outcome == provider.Denied, result.Outcome == provider.Rejected, result.Misconfigured:
		return problem.Mistake("the connection was not stored, because its check failed: %s. "+unchecked, failure)
	case result.Outcome == provider.Busy:
		if result.RetryAfter >= lockHint { // clients must not repeat the request soon
			return problem.Mistake("the connection was not stored, because its check failed: %s. Try again in %s", failure, result.RetryAfter.Round(time.Second))
		}
		return problem.Busy("the connection was not stored, because its check failed: %s. Try again later", failure)
	default:
		return problem.Unreachable("the connection was not stored, because its check failed: %s. "+unchecked, failure)
	}
}

// checkLogins checks that no role changes the password with which the connection logs in.
func (c *configWrite) checkLogins(ctx context.Context) error {
	h := c.h
	if err := c.checkLogin(ctx, h.Completed); err != nil {
		return err
	}
	others, err := c.otherAddresses(ctx, c.s, h)
	if err != nil {
		return err
	}
	for _, other := range others {
		if err := c.checkLogin(ctx, provider.Connection{URL: other.at.URL, Settings: h.Completed.Settings}); err != nil {
			return err
		}
	}
	return nil
}

// checkRoles checks that the connection's roles keep their accounts.
func (c *configWrite) checkRoles(ctx context.Context) error {
	if c.before == nil && !c.damaged {
		return nil
	}
	h := c.h
	// If it is not valid any more, or not known, only the accounts of roles are compared.
	before, err := cmp.Or(c.before, &connection.Connection{}).Complete(h.Kind)
	if err == nil && reflect.DeepEqual(before, h.Completed) {
		return nil
	}
	was := h.Kind.Host(before)
	moved := was != "" && was != h.Kind.Host(h.Completed)
	err = c.eachRole(ctx, c.s, c.name, func(r *role.Role) error {
		if !r.Options.Leaves(h.SettleAfter(), c.Now()) {
			return problem.Mistake("settle_after must be less than the time between two rotations of every role: role %q has %d seconds", r.Name, r.Options.Period(c.Now()))
		}
		target, err := h.Account(r.Target)
		if moved || err != nil || !slices.Equal(target.Identities, r.Target.Identities) {
			return problem.Mistake("the connection %q was not stored, because role %q would get another account: the host and the project of a connection in use cannot be changed", c.name, r.Name)
		}
		return nil
	})
	if errors.Is(err, store.ErrDamaged) && !moved { // no call is made for that role
		return nil
	}
	return err
}
