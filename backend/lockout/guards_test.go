package lockout

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

func TestConnectionsShareGuardOfCredential(t *testing.T) {
	t.Parallel()
	g := NewGuards(Config{})
	one := g.Of(five, "a", 1)
	require.Same(t, one, g.Of(five, "b", 7))
	require.Same(t, one, g.Of(five, "a", 2))
	require.NotSame(t, one, g.Of(provider.Lockout{Credential: "remote|other", Refusals: 5}, "a", 1))
	require.Regexp(t, "^[0-9a-f]{64}$", one.Key(), "the name of a login is not in the key")

	own := g.Of(unlocked, "a", 1)
	require.Same(t, own, g.Of(unlocked, "a", 1))
	require.NotSame(t, own, g.Of(unlocked, "a", 2))
	require.NotSame(t, own, g.Of(unlocked, "b", 1))
	same := g.Of(provider.Lockout{Credential: "remote|key"}, "a", 1)
	require.Same(t, own, same, "where nothing is locked, the credential does not matter")
	require.Equal(t, 5, g.Len())
}

// Entries keep their keys over versions.
func TestGuardKeysAreStable(t *testing.T) {
	t.Parallel()
	g := NewGuards(Config{})
	require.Equal(t, "bccfce1387ee04134a96dd290e8ace940f44b823ed9dae86123211b67d361835", g.Of(five, "a", 1).Key())
	require.Equal(t, "f8b610a58e20937b40411a516204d60ee2ddee67f8a416c399d9a7207450f9cd", g.Of(unlocked, "a", 1).Key())
}

func TestKeepForgetsIdleGuards(t *testing.T) {
	t.Parallel()
	g := NewGuards(Config{})
	kept, gone, busy := g.Of(unlocked, "kept", 1), g.Of(unlocked, "gone", 1), g.Of(unlocked, "busy", 1)
	p, err := busy.Enter(noWait)
	require.NoError(t, err)
	g.Keep(nil)
	require.Equal(t, 3, g.Len(), "all were asked for since")
	g.Keep(map[string]bool{kept.Key(): true, "unknown": true})
	require.Equal(t, 2, g.Len())
	require.Same(t, kept, g.Of(unlocked, "kept", 1))
	require.Same(t, busy, g.Of(unlocked, "busy", 1), "a call is running")
	require.NotSame(t, gone, g.Of(unlocked, "gone", 1))
	p.Leave()
	g.Keep(nil)
	g.Keep(nil)
	require.Zero(t, g.Len())
}

// Another node may have written the entry: it is read again before anything is done on the strength of it.
func TestInvalidateReadsEntryAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(applied)
	r.call(refused)
	until := r.time().Add(time.Hour)
	r.put(Attempts{Refused: 3, Last: r.time()})
	r.putHold(until)
	for _, key := range []string{"unknown", r.Key(), r.holdKey} {
		r.guards.Invalidate(key)
	}
	require.Equal(t, 1, r.Room())
	require.NoError(t, r.Load(t.Context(), r.memory))
	require.Equal(t, until, r.HeldUntil())
	r.begin().Leave()
	r.requireStored(3, 1)
	r.refuses(false)
}

// What another node has stored outlasts the answers of calls that run meanwhile.
func TestInvalidationKeepsCountOfRunningCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(applied)
	slow, quick := r.begin(), r.begin()
	r.put(Attempts{Refused: 2, Last: r.time()})
	r.guards.Invalidate(r.Key())
	r.end(quick, refused)
	r.end(slow, applied)
	r.requireStored(2, 0)
	require.Equal(t, 1, r.Room(), "the refusal came in while the other call ran")
	p := r.begin()
	r.requireStored(2, 1)
	r.end(p, refused)
	r.requireStored(3, 0)
}

// Earlier versions counted a key for all addresses together.
func TestCountsOfFormerNameStillCount(t *testing.T) {
	t.Parallel()
	before := newRig(t, five)
	before.call(throttle)
	for range 4 {
		before.call(refused)
	}
	r := newRig(t, provider.Lockout{Credential: "remote|address|key", Former: five.Credential, Refusals: 5})
	r.memory, r.clock = before.memory, before.time()
	r.restart()
	require.Zero(t, r.held(), "a hold may be that of another address, and a call that is made too early locks nothing")
	left, _, ok, err := r.Left(t.Context(), r.memory)
	require.NoError(t, err)
	require.Zero(t, left)
	require.False(t, ok)
	r.refuses(false)
	r.requireStored(4, 0)

	require.NoError(t, r.Renew(t.Context(), r.memory, false, true))
	r.pass(r.Forgets())
	r.call(applied)
	require.Zero(t, r.stored().Refused)
	before.requireStored(4, 0)
	r.restart()
	r.call(refused)
	require.Less(t, r.stored().Refused, 4, "the entry of the former name counts no more")
	before.requireStored(4, 0)
}

// Where two connections use one credential at one address, an operator has to know which one causes the refusals.
func TestErrorNamesConnectionThatWasRefused(t *testing.T) {
	t.Parallel()
	for name, spend := range map[string]func(r *rig){
		"each call counted before": func(*rig) {},
		"a lease":                  func(r *rig) { r.call(applied) },
	} {
		for _, restart := range []bool{false, true} {
			r := newRig(t, five)
			spend(r)
			for range 4 {
				p := r.enter()
				p.Presents("first", "secret")
				require.NoError(t, p.Take(t.Context(), r.memory, false))
				r.end(p, refused)
			}
			if restart {
				r.restart()
			}
			for who, named := range map[string]bool{"first": false, "second": true} {
				p := r.enter()
				p.Presents(who, "secret")
				var spent *SpentError
				require.ErrorAs(t, p.Take(t.Context(), r.memory, false), &spent, name)
				p.Leave()
				require.Equal(t, named, spent.By == "first", name)
				require.Equal(t, named, strings.Contains(spent.Error(), `the connection "first"`), spent)
			}
		}
	}
	r := newRig(t, five)
	p := r.begin()
	p.Presents("first", "secret")
	r.end(p, throttle)
	require.Equal(t, "first", r.Held().By)
	r.restart()
	require.Equal(t, "first", r.Held().By)
}
