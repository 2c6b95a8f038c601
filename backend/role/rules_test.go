package role

import (
	"math"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/timing"
)

// The rules once more, one question at a time and without obstacles, as the engine asked them before Next answered all of
// them. Next has to agree.

// mayBegin returns when a change may begin because the password is due; false: not before something else happens.
func mayBegin(r *Role) (time.Time, bool) {
	due := r.DueTime()
	if due.IsZero() || r.Options.Disabled || r.Record.Unfinished() || Waits(r.Record.View(now).State) {
		return time.Time{}, false
	}
	if r.Retry.Last != nil {
		due = timing.Later(due, r.Retry.NextAttempt)
	}
	return r.Options.inWindow(due, now)
}

// beginsByItself returns when the engine begins a change because the password is due.
func beginsByItself(r *Role) (time.Time, bool) {
	if r.Options.RotationMode == ModeOnRead {
		return time.Time{}, false
	}
	return mayBegin(r)
}

// readBegins reports whether a read begins a change now.
func readBegins(r *Role) bool {
	at, ok := mayBegin(r)
	return r.Options.RotationMode == ModeOnRead && ok && !at.After(now)
}

// readWaits reports whether a read waits for a change that another read began.
func readWaits(r *Role) bool {
	next, due := r.Record.Next, r.DueTime()
	return r.Options.RotationMode == ModeOnRead && !r.Options.Disabled && !due.IsZero() && !now.Before(due) && r.Retry.Last == nil &&
		next != nil && next.Phase == credential.Sending && !now.After(next.SentUntil)
}

// continues returns when the engine goes on with an open password.
func continues(r *Role) (time.Time, bool) {
	if !r.Record.Unfinished() || r.Options.Disabled || r.Unsettled(now, Env{}) {
		return time.Time{}, false
	}
	if next := r.Record.Next; next != nil && next.Phase == credential.Unsent && next.Reason == ReasonDue {
		return r.Options.inWindow(r.Retry.NextAttempt, now)
	}
	return r.Retry.NextAttempt, true
}

// acts returns when the engine acts by itself.
func acts(r *Role) (time.Time, bool) {
	at := r.QueuedUntil()
	waits := !at.IsZero()
	if r.settled || r.derived {
		at, waits = now, true
	}
	for _, question := range []func(*Role) (time.Time, bool){continues, beginsByItself} {
		if next, ok := question(r); ok && (!waits || next.Before(at)) {
			at, waits = next, true
		}
	}
	return at, waits
}

// waitsToRead returns how long a reader waits before it reads again.
func waitsToRead(r *Role) time.Duration {
	remaining := announced(r)
	parts := 1.0
	if limit := float64(r.Options.MaxReadTTL); limit > 0 {
		parts = math.Ceil(remaining.Seconds() / limit)
	}
	return max(time.Second, time.Duration(math.Ceil(remaining.Seconds()/max(1, parts)))*time.Second)
}

func announced(r *Role) time.Duration {
	state, byHand := r.Record.View(now).State, time.Duration(r.Options.MaxReadTTL)*time.Second
	if byHand == 0 {
		byHand = DefaultReadTTL * time.Second
	}
	queued := r.QueuedUntil()
	if !queued.IsZero() {
		byHand = min(byHand, queued.Sub(now))
	}
	at, open := continues(r)
	due, begins := mayBegin(r)
	switch {
	case readWaits(r), r.inFlight(now):
		return OverdueTTL
	case state == credential.StateAccepted && !queued.IsZero():
		return queued.Sub(now)
	case r.Options.Disabled, r.Unsettled(now, Env{}), state == credential.StateRestartRequired:
		return byHand
	case open:
		return max(OverdueTTL, at.Sub(now))
	case !begins:
		return byHand
	case due.After(now):
		return due.Sub(now)
	default:
		return OverdueTTL
	}
}
