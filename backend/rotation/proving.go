package rotation

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/promise"
	"vault-plugin-secrets-hosting/backend/proof"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/store"
)

// EventVerify: logins have shown that another password is in force than was believed, or that none works.
const EventVerify = "verify"

// Proved is the result of VerifyRole and RecoverRole.
type Proved struct {
	provider.Hidden
	Report *roles.Report
	Tried  []proof.Tried
	// Until is when more logins can be made, if too many were refused; otherwise zero.
	Until time.Time
}

// VerifyRole logs in with the passwords that may be in force, until one works, and learns from that. It returns a
// *problem.Error if the role has no verify, problem.ErrNoRole, logical.ErrReadOnly or a storage error.
func (e *Engine) VerifyRole(ctx context.Context, storage logical.Storage, name string) (*Proved, error) {
	return e.prove(ctx, storage, name, false)
}

// RecoverRole is VerifyRole with all passwords of the role, and adopts the one that works.
func (e *Engine) RecoverRole(ctx context.Context, storage logical.Storage, name string) (*Proved, error) {
	return e.prove(ctx, storage, name, true)
}

func (e *Engine) prove(ctx context.Context, storage logical.Storage, name string, all bool) (*Proved, error) {
	leave, err := e.Connections.Enter("role", name, false)
	if err != nil {
		return nil, err
	}
	defer leave()
	s, out := store.Store{Storage: storage}, &Proved{}
	found := &proof.Request{Role: name, All: all}
	out.Report, err = e.await(ctx, s, name, func(work, waiting context.Context, shared *promise.Promise) (*roles.Report, error) {
		return e.answer(name, e.work(work, waiting, shared, s, name, intent{trigger: triggerVerify, prove: found}))
	})
	if err != nil {
		return nil, err
	}
	out.Tried, out.Until = found.Results()
	return out, nil
}

// proving is the part of work that logs in.
type proving struct{ *work }

// requested answers a request to log in.
func (w proving) requested(ctx context.Context, request *proof.Request) result {
	if !w.role.Options.Proves() {
		return result{err: problem.Mistake("%s", explain.NoVerify(w.role))}
	}
	if w.role.Record.View(w.Now()).Password == nil && !w.role.Record.Exposed() {
		return result{err: problem.Mistake("role %q has no password yet, so there is nothing to verify. Write rotate-role/%s to set one", w.name, w.name)}
	}
	known := w.role.Record.List()
	if !w.promise.Commit() {
		return result{err: problem.ErrGivenUp}
	}
	logins, err := w.round(ctx, w.role.Trials(request.All), w.role.Target.Parts)
	if err != nil {
		return result{err: err}
	}
	request.Made(logins, w.role.Target.Parts, known)
	w.learn(logins)
	if err := w.conclude(ctx); err != nil {
		return w.done(err)
	}
	if w.role.ProvesFirst(w.Now(), role.Env{Requested: true}) || w.sendsNow() {
		if res := w.resume(ctx); !inTheWay(res.err) { // the logins have shown how it goes on
			return res
		}
	}
	return result{role: w.role, h: w.h, asIs: true}
}

// take makes the logins that the role's next step wants, and stores what they show. again means that a password can be sent
// now.
func (w proving) take(ctx context.Context) (again bool, err error) {
	if !w.promise.Commit() {
		return false, problem.ErrGivenUp
	}
	logins, err := w.round(ctx, w.role.Trials(w.role.Proofs.Recovering), w.role.Target.Parts)
	switch {
	case err != nil && w.unstored: // something was sent, so an error would be wrong
		return false, errLater
	case err != nil:
		return false, err
	}
	works := w.learn(logins)
	next := w.role.Record.Next
	if works && next != nil && !next.Exposed() { // it waits for the old password, which is known now
		w.unstored = true
		return true, nil
	}
	if !works && w.oldPassword().Required {
		last := w.role.Retry.Last
		if afterMismatch(w.role) && last != nil && last.Class == provider.Mismatch { // another old password may be right
			w.unstored = true
			return true, nil
		}
	}
	return false, w.conclude(ctx)
}

// round logs in with these passwords, on each part, until one works there or a login cannot tell. It takes requestWait at
// most: what is not done by then cannot tell.
func (w proving) round(ctx context.Context, passwords []credential.Password, parts []string) ([]role.LoginResult, error) {
	expanded := *w.role
	if err := w.s.Expand(ctx, &expanded); err != nil {
		return nil, problem.Storage("reading role "+w.name, err)
	}
	began := w.Now()
	timed, cancel := context.WithTimeout(ctx, requestWait)
	defer cancel()
	logins, err := w.prover.Round(timed, w.waiting, w.s, w.h, &expanded, parts, passwords)
	if w.h.Guard.Suspected() { // a login through the API was refused with the connection's credential
		w.Connections.Denied(ctx, w.s, w.h, began)
	}
	for _, login := range logins {
		w.logLogin(login)
	}
	switch {
	case errors.Is(err, problem.ErrFull), errors.Is(err, problem.ErrPanicked):
		return nil, err
	case err != nil:
		return nil, problem.Storage("counting a login of role "+w.name, err)
	default:
		return logins, nil
	}
}

// checkConfirmation logs in with the password that an operator's statement is about, and returns an error if that shows the
// opposite, or can be done only later. A login that cannot tell leaves the statement as it is.
func (w proving) checkConfirmation(ctx context.Context, c Confirmation) ([]role.LoginResult, error) {
	if err := checkConfirmation(w.role, c); err != nil {
		return nil, err
	}
	if c.Force || w.h == nil || !w.role.Options.Proves() {
		return nil, nil
	}
	password := credential.Password{Version: c.Version, Value: c.Password}
	for _, known := range w.role.Record.List() {
		if c.Password == "" && known.Version == c.Version {
			password = known.Password
		}
	}
	if password.Value == "" { // the confirmation will be refused
		return nil, nil
	}
	parts := w.role.Target.Parts
	if len(c.Servers) > 0 {
		parts = c.Servers
	}
	logins, err := w.round(ctx, []credential.Password{password}, parts)
	if err != nil {
		return nil, err
	}
	if err := proof.CheckStatement(w.role, c.Version, c.Discard, logins); err != nil {
		return nil, err
	}
	if c.Discard { // what does not work is said by the operator too
		return nil, nil
	}
	return logins, nil
}

// learn applies the logins to the role, and reports whether one worked.
func (w proving) learn(logins []role.LoginResult) (works bool) {
	w.role.Record = w.role.Record.Unresolved() // a request that storage has in flight has ended
	before := w.role.Record
	changed := w.role.Learn(logins, w.Now(), w.h.Margin())
	for _, l := range logins {
		works = works || l.Verdict == provider.Works
	}
	switch state := w.role.Record.View(w.Now()).State; {
	case !changed:
		return works
	case before.Next.Exposed() && state == credential.StateActive:
		w.kinds = append(w.kinds, EventRotate)
	default:
		w.kinds = append(w.kinds, EventVerify)
	}
	state := w.role.Record.View(w.Now()).State
	w.logger.Info("logins have changed what is known of the password", "role", w.name, "connection", w.h.Name, "provider", w.h.Provider,
		"trigger", w.trigger, "state", string(state))
	return works
}

// logLogin logs a login that did not work.
func (w proving) logLogin(l role.LoginResult) {
	if l.Verdict == provider.Works || l.Verdict == w.role.Proofs.Verdict && l.Reason == w.role.Proofs.Reason {
		return
	}
	if next := w.role.Record.Next; next.Staged() && next.Version != l.Version && l.Verdict == provider.Refused { // as is to be expected
		w.logger.Info("a login with the old password was refused", "role", w.name, "connection", w.h.Name, "provider", w.h.Provider, "trigger", w.trigger,
			"version", l.Version, "server", l.Part)
		return
	}
	w.logger.Warn("a login does not prove the password", "role", w.name, "connection", w.h.Name, "provider", w.h.Provider, "trigger", w.trigger,
		"version", l.Version, "server", l.Part, "result", string(l.Verdict), "reason", l.Reason)
}
