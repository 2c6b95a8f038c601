package rotation

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/rotation/failpoint"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/timing"
)

// edit calls f with a role, under the role's lock, for a request that only changes storage.
func (e *Engine) edit(ctx context.Context, storage logical.Storage, name string, f func(w *work) error) error {
	leave, err := e.Connections.Enter("role", name, false)
	if err != nil {
		return err
	}
	defer leave()
	waiting, cancel := context.WithTimeout(ctx, requestWait)
	defer cancel()
	unlock, err := e.locks.Lock(waiting, name)
	if err != nil {
		return problem.Busy("nothing was changed, because a change of role %q is in progress. Try again", name)
	}
	w := &work{Engine: e, s: store.Store{Storage: storage}, name: name, waiting: waiting}
	return w.under(unlock, func() error {
		if err := w.loadRole(ctx); err != nil {
			return err
		}
		return f(w)
	})
}

// put stores the role after an edit.
func (w *work) put(ctx context.Context) error {
	w.stored = nil
	if err := w.s.PutRole(ctx, w.role); err != nil {
		return problem.NotStored("storing role "+w.name, err)
	}
	w.wasStored()
	return nil
}

// Update changes the options and the mutable target fields of a role. It calls change under the role's lock; change returns
// the new options and the target fields of the request.
func (e *Engine) Update(ctx context.Context, storage logical.Storage, name string, change func(*roles.View) (role.Options, provider.Settings, error)) (report *roles.Report, err error) {
	err = e.edit(ctx, storage, name, func(w *work) error {
		if w.h, err = e.Connections.Handle(ctx, w.s, w.role.Connection); err != nil {
			return problem.Storage("reading connection "+w.role.Connection, err)
		}
		if err := w.s.Expand(ctx, w.role); err != nil {
			return problem.Storage("reading role "+name, err)
		}
		options, given, err := change(roles.ViewOf(w.role, e.Now()))
		if err != nil {
			return err
		}
		if err := w.update(ctx, options, given); err != nil {
			return err
		}
		report = e.Report(w.role, w.h)
		return nil
	})
	return report, err
}

func (w *work) update(ctx context.Context, options role.Options, given provider.Settings) error {
	target, err := w.h.MergeTarget(w.role.Target, given)
	if err != nil {
		return problem.Mistake("%s", err)
	}
	if err := w.h.Allows(w.name, target); err != nil {
		return problem.Mistake("%s", err)
	}
	updated, now := *w.role, w.Now()
	updated.Options, updated.Target = options, target
	if w.h.Kind.OldPassword(target).Required && !w.oldPassword().Required && w.role.Record.View(now).Password == nil {
		return problem.Mistake("provider %q would need the account's current password for this, and Vault does not know it. Write it to confirm-role/%s (password=…) first", w.h.Provider, w.name)
	}
	if err := w.passwords.checkOptions(ctx, w.h, &updated, &w.role.Options, now); err != nil {
		return err
	}
	if options.Timing() != w.role.Options.Timing() && w.role.Record.Current != nil {
		updated.Due = options.DueAgain(w.role.Record.Current.Since, now)
	}
	updated.Record = w.role.Record.Trim(options.HistorySize)
	changed := slices.ContainsFunc(w.h.Kind.TargetFields(), func(f provider.Field) bool { // these say how the password is changed
		return !connection.Equal(target.Settings[f.Name], w.role.Target.Settings[f.Name])
	})
	updated.PlanProof(w.role.Options, now)
	if changed || w.role.Retry.Last.MendedByOptions() && options != w.role.Options {
		updated.Retry.NextAttempt = time.Time{} // the update may have fixed the failure
	}
	w.role = &updated
	return w.put(ctx)
}

// Delete deletes a role and its passwords. While a password is in flight or staged, it requires force or force_delete. It is not an error if
// the role does not exist.
func (e *Engine) Delete(ctx context.Context, storage logical.Storage, name string, force bool) error {
	err := e.edit(ctx, storage, name, func(w *work) error {
		if now := e.Now(); w.role.Record.Open(now) && !force && !w.role.Options.ForceDelete {
			return problem.Mistake("role %q was not deleted, because it is in the state %q: a password was sent that may be in force, now or later, and would be lost. Settle it first (confirm-role/%s), or delete the role with force=true. A tool that cannot send it can write force_delete=true to the role first",
				name, w.role.Record.View(now).State, name)
		}
		return w.remove(ctx)
	})
	if errors.Is(err, problem.ErrNoRole) {
		return nil
	}
	return err
}

// remove deletes the role, then its index entries. The entries stay, but are free, if the next role for the account has to
// inherit limits: a request that may still be running, or wrong old passwords. After an error, the role may still exist.
func (w *work) remove(ctx context.Context) error {
	unlock, err := w.index.Lock(ctx, "")
	if err != nil {
		return problem.ErrGivenUp
	}
	defer unlock()
	address, entries, keys, err := w.Connections.Entries(ctx, w.s, w.role)
	keys = append(keys, store.OptionsPrefix+w.name, store.ReadPrefix+w.name)
	if err := cmp.Or(err, w.s.Removable(ctx, slices.Concat(keys, entries)...)); err != nil {
		return problem.Storage("reading the entries of role "+w.name, err)
	}
	left := store.Owner{Role: w.name, Address: address, NotBefore: w.role.Record.LastRequest(), OldTries: w.role.Record.OldTries}
	now := w.Now()
	inherited := now.Before(left.NotBefore.Add(timing.LastBackoff)) || now.Before(left.OldTries.Until) // longer than any margin
	if inherited {
		for _, identity := range w.role.Target.Identities {
			left.Identity = identity
			if err := w.s.PutOwner(ctx, left); err != nil {
				return problem.Storage("storing the index of targets", err)
			}
		}
	} else {
		keys = append(keys, entries...)
	}
	w.stored = nil
	if err := w.s.Delete(ctx, store.RolePrefix+w.name); err != nil {
		return problem.NotStored("deleting role "+w.name, err)
	}
	w.absent = true
	for _, key := range keys {
		if err := w.s.Delete(ctx, key); err != nil {
			w.logger.Warn("could not delete an entry of a deleted role, which has no effect", "role", w.name, "error", err)
		}
	}
	return nil
}

// Confirmation is an operator's statement about a role's password.
type Confirmation struct {
	provider.Hidden
	// Version is in force or, with Discard, not.
	Version int
	Discard bool
	// Servers are the servers on which Version is in force; empty means all.
	Servers []string
	// Password is in force. If it is "", Version is.
	Password string
	// Force: a login that shows the opposite does not matter.
	Force bool
}

// Confirm records a confirmation. It sends nothing.
func (e *Engine) Confirm(ctx context.Context, storage logical.Storage, name string, c Confirmation) (report *roles.Report, err error) {
	err = e.edit(ctx, storage, name, func(w *work) (err error) {
		if w.h, err = e.Connections.Handle(ctx, w.s, w.role.Connection); err != nil {
			w.h = nil // neither the confirmation nor the report needs it
		}
		before := w.role.Record
		logins, err := proving{w}.checkConfirmation(ctx, c)
		if err != nil {
			return err
		}
		if err := w.confirm(ctx, c, logins); err != nil {
			return err
		}
		report = e.Report(w.role, w.h)
		report.Warning = e.facts(w.role, w.h).Confirmed(before, c.Discard, explain.NotChecked(w.role, c.Force, logins))
		return nil
	})
	return report, err
}

// confirm applies a confirmation to the record and stores it.
func (w *work) confirm(ctx context.Context, c Confirmation, logins []role.LoginResult) error {
	now, before := w.Now(), w.role.Record
	rec := before
	var err error
	switch {
	case c.Password != "":
		if err := w.checkPresent(c.Password); err != nil {
			return err
		}
		rec = rec.Adopt(c.Password, "confirmed by hand", now)
	case c.Discard:
		rec, err = rec.Discard(c.Version, now)
	case len(c.Servers) > 0:
		rec, err = rec.ConfirmOn(c.Version, c.Servers, w.role.Target.Parts, now)
	default:
		rec, err = rec.Confirm(c.Version, now)
	}
	if err != nil {
		return problem.Mistake("%s", explain.Unconfirmable(w.role, c.Version, c.Discard, err))
	}
	w.role.Retry.Unknowns, w.role.Retry.UnknownSince = 0, time.Time{}
	if !c.Discard {
		w.role.Proofs.Recovering, w.role.Proofs.Refused = false, nil
	}
	if !rec.Unfinished() { // otherwise it continues at its time
		w.role.Retry = role.Retry{}
	}
	if rec.Current != nil && (before.Current == nil || rec.Current.Version != before.Current.Version) {
		w.role.Due = w.role.Options.DueAfter(now)
	}
	if !rec.Open(now) { // otherwise the next change trims the history
		rec = rec.Trim(w.role.Options.HistorySize)
	}
	w.role.Record = rec
	if rec.Current != nil && !c.Discard {
		for i := range logins { // the version may be another one now
			if logins[i].Version == 0 || rec.Current.Formerly == logins[i].Version {
				logins[i].Version = rec.Current.Version
			}
		}
	}
	if len(logins) > 0 { // the handle is known then
		w.role.Learn(logins, now, w.h.Margin())
	}
	failpoint.Reach(failpoint.BeforeWord, w.name)
	if err := w.put(ctx); err != nil {
		return err
	}
	failpoint.Reach(failpoint.Word, w.name)
	version := c.Version
	if c.Password != "" || rec.Current != nil && rec.Current.Formerly == version {
		version = rec.Current.Version
	}
	w.logger.Info("password confirmed by an operator", "role", w.name, "connection", w.role.Connection, "provider", w.role.Provider,
		"version", version, "discard", c.Discard, "given", c.Password != "")
	return nil
}

// checkConfirmation checks that a confirmation fits the servers of the role.
func checkConfirmation(r *role.Role, c Confirmation) error {
	next := r.Record.Next
	switch {
	case len(c.Servers) > 0 && len(r.Target.Parts) == 0:
		return problem.Mistake("%s", explain.NoServers(r))
	case len(c.Servers) > 0:
		for _, server := range c.Servers {
			if !slices.Contains(r.Target.Parts, server) {
				return problem.Mistake("%s", explain.NotAServer(r, server))
			}
		}
	case !c.Discard && c.Password == "" && next.Partial() && next.Version == c.Version:
		return problem.Mistake("%s", explain.NotTaken(r, c.Version))
	}
	return nil
}
