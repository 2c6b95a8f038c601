package rotation

import (
	"context"
	"errors"
	"time"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/rotation/failpoint"
	"vault-plugin-secrets-hosting/backend/timing"
)

const (
	// restartPoll is how often the engine looks at a server that is being restarted.
	restartPoll = 5 * time.Second
	// latePoll is how often it looks at a server that should be back, and may be turned off.
	latePoll = 5 * time.Minute
	// provePoll is how often it logs in to a server that is back until a login can tell.
	provePoll = 20 * time.Second
)

// restarting is the part of work that restarts servers, one at a time. A crash leaves in storage:
//
//	request    The server, without a job. Whether the restart was requested is not known: it is not requested again, only
//	           followed, until restart_timeout.
//	follow     The server and its job, which is followed.
//	prove      The same, and a login follows.
type restarting struct{ *work }

// take makes the next call for the restarts, and stores what follows from it.
func (w restarting) take(ctx context.Context) error {
	w.again = timing.Scaled(restartPoll)
	err := w.next(ctx)
	if errors.Is(err, connection.ErrThrottled) || errors.Is(err, connection.ErrChecking) {
		return nil
	}
	return err
}

func (w restarting) next(ctx context.Context) error {
	of := &w.role.Restarts
	if !of.Pending(w.role) {
		return w.request(ctx)
	}
	if !of.Back {
		if err := w.follow(ctx); err != nil {
			return err
		}
	}
	if of.Back {
		w.again = timing.Scaled(provePoll)
		if err := w.prove(ctx); err != nil {
			return err
		}
	}
	if of.Failed != "" && of.Pending(w.role) { // a server that should be back
		w.again = timing.Scaled(latePoll)
	}
	if of.Part == w.stored.Restarts.Part && of.Failed == w.stored.Restarts.Failed && of.Job == w.stored.Restarts.Job && of.Back == w.stored.Restarts.Back && of.Refused == w.stored.Restarts.Refused {
		return nil // there is nothing to store
	}
	return w.finish(ctx)
}

// request requests the restart of the next server.
func (w restarting) request(ctx context.Context) error {
	part := w.role.NextRestart()
	var job string
	result, err := w.call(ctx, func() error {
		w.role.Restarts.Begin(w.role.Record.Next.Version, part, w.Now())
		failpoint.Reach(failpoint.BeforeRestart, w.name)
		return w.store(ctx, "storing the restart of server "+part+" of role "+w.name)
	}, func(ctx context.Context, client provider.Restarter) (result provider.Result) {
		failpoint.Reach(failpoint.Restart, w.name)
		result, job = client.Restart(ctx, w.role.Target, w.current())
		return result
	})
	if err != nil {
		return err
	}
	of := &w.role.Restarts
	of.Answered(result, job, w.Now(), w.Backoff)
	if of.Part != "" {
		w.logger.Info("server is being restarted", "role", w.name, "connection", w.h.Name, "provider", w.h.Provider, "version", of.Version, "server", of.Part)
	}
	return w.finish(ctx)
}

// follow looks how far the restart is.
func (w restarting) follow(ctx context.Context) error {
	var progress provider.Progress
	job := w.role.Restarts.Job
	result, err := w.call(ctx, func() error { return nil }, func(ctx context.Context, client provider.Restarter) (result provider.Result) {
		result, progress, job = client.Follow(ctx, w.role.Target, w.current())
		return result
	})
	if err == nil {
		failure := role.Failure{Code: result.Code, Reason: result.Reason}
		w.role.Restarts.Followed(w.role.Target, progress, job, failure.String(), w.Now())
	}
	return err
}

// prove logs in to a server that is back.
func (w restarting) prove(ctx context.Context) error {
	if !w.role.Options.Proves() {
		w.role.RestartUnproved(w.Now())
		return nil
	}
	logins, err := proving(w).round(ctx, w.role.Restarts.Trials(w.role), []string{w.role.Restarts.Part})
	if err == nil {
		w.role.RestartProved(logins, w.Now(), w.h.Margin())
	}
	return err
}

// current is the restart of the role's server.
func (w restarting) current() provider.Restart {
	of := w.role.Restarts
	return provider.Restart{Part: of.Part, Kind: w.role.Target.Restart, Since: of.Since, Job: of.Job}
}

// call makes a call of the connection.
func (w restarting) call(ctx context.Context, before func() error, call func(context.Context, provider.Restarter) provider.Result) (provider.Result, error) {
	began := w.Now()
	result, err := w.h.Call(ctx, w.asks(), w.s, before, func(ctx context.Context, client provider.Client) provider.Result {
		restarter, ok := client.(provider.Restarter)
		if !ok {
			return provider.Unsendable(provider.ScopeTarget, "the connection cannot restart servers")
		}
		return call(ctx, restarter)
	})
	w.queue.Wake() // others may wait for the slot
	if err == nil && result.Outcome == provider.Denied && result.Scope != provider.ScopeTarget {
		w.Connections.Denied(ctx, w.s, w.h, began)
	}
	if err != nil && !errors.Is(err, connection.ErrThrottled) && !errors.Is(err, connection.ErrChecking) { // the next step waits for these
		err = w.Connections.Refuse(ctx, w.s, w.h, err)
	}
	return result, err
}

// finish stores the role, and reports what has changed.
func (w restarting) finish(ctx context.Context) error {
	of, stored := w.role.Restarts, w.stored
	if stored != nil && stored.Record.Next != nil && w.role.Record.Next == nil {
		w.kinds = append(w.kinds, EventRotate)
	}
	if err := w.conclude(ctx); err != nil {
		return err
	}
	args := []any{"role", w.name, "connection", w.h.Name, "provider", w.h.Provider, "version", of.Version}
	switch {
	case of.Failed != "" && (stored == nil || stored.Restarts.Failed == ""):
		w.logger.Warn("the restarts have stopped: the role needs an operator", append(args, "server", of.FailedPart, "reason", of.Failed)...)
	case of.Part == "" && len(of.Done) > 0 && stored != nil && of.Done[len(of.Done)-1] == stored.Restarts.Part:
		w.logger.Info("server was restarted", append(args, "server", stored.Restarts.Part)...)
	}
	return nil
}
