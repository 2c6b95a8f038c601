package rotation

import (
	"context"
	"sync"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

// keyedRemote is a remote system that knows which key a call presents, and locks each key on its own.
type keyedRemote struct {
	*remote
	mu sync.Mutex
	// refusals in a row that lock a key; 0: none do.
	refusals int
	// sender is how refusals of all keys count together.
	sender  provider.Sender
	refused map[string]bool
	uses    map[string]int // calls by key
	// during is called while a call runs, and may change its result.
	during func(c call, result *provider.Result)
}

// call is one call to the remote system.
type call struct{ kind, key, login string }

// Kinds of calls.
const (
	callCheck  = "check"
	callTarget = "target"
	callChange = "change"
)

// useKeys restarts the engine with a keyedRemote.
func (r *rig) useKeys(refusals int) *keyedRemote {
	k := &keyedRemote{remote: r.remote, refusals: refusals, refused: map[string]bool{}, uses: map[string]int{}}
	r.restartWith(k)
	return k
}

// refuse sets whether the remote system refuses a key.
func (k *keyedRemote) refuse(key string, refused bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refused[key] = refused
}

// used returns how many calls presented a key.
func (k *keyedRemote) used(key string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.uses[key]
}

// onCall sets what happens while a call runs.
func (k *keyedRemote) onCall(during func(c call, result *provider.Result)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.during = during
}

func (k *keyedRemote) answerCall(c call) provider.Result {
	k.mu.Lock()
	k.uses[c.key]++
	result, during := applied, k.during
	if k.refused[c.key] {
		result = refusedCredential
	}
	k.mu.Unlock()
	if during != nil {
		during(c, &result)
	}
	return result
}

func (k *keyedRemote) Lockout(c provider.Connection) provider.Lockout {
	if k.refusals == 0 {
		return provider.Lockout{Sender: k.sender}
	}
	return provider.Lockout{Credential: lockedKey(c.Settings.String("key")), Refusals: k.refusals, Sender: k.sender}
}

// lockedKey is what the remote system locks.
func lockedKey(key string) string { return "remote|" + key }

func (k *keyedRemote) Open(c provider.Connection) (provider.Client, error) {
	return &keyedClient{k, c.Settings.String("key")}, nil
}

type keyedClient struct {
	*keyedRemote
	key string
}

func (c *keyedClient) Check(context.Context) provider.Result {
	return c.answerCall(call{callCheck, c.key, ""})
}

func (c *keyedClient) CheckTarget(_ context.Context, t provider.Target) provider.Result {
	return c.answerCall(call{callTarget, c.key, t.Username})
}

func (c *keyedClient) Change(_ context.Context, change provider.Change) provider.Result {
	c.remote.mu.Lock()
	c.changes = append(c.changes, change)
	c.remote.mu.Unlock()
	result := c.answerCall(call{callChange, c.key, change.Target.Username})
	if result.Outcome == provider.Applied {
		c.setPassword(change.Target.Username, change.NewPassword)
	}
	return result
}

// lockRig is a rig whose remote system locks the connection's credential at the fifth refusal in a row.
type lockRig struct {
	*rig

	// What follows is guarded by remote.mu.

	wrong bool // the credential is refused
	// refused counts the refusals in a row, most is the highest count so far, and uses counts the calls.
	refused, most, uses int
	refusedAt           time.Time
	unseen              int // the answers to the next refusals are lost
	slow                bool
}

// lockable makes the remote system of a rig lock its credential. session: the credential logs in for a token.
func (r *rig) lockable(session bool) *lockRig {
	l := &lockRig{rig: r}
	r.remote.lockout = provider.Lockout{Credential: lockedKey("key"), Refusals: 5, Session: session}
	r.engine.cache.Drop("conn")
	r.remote.onChange(func(context.Context, int, provider.Change) (provider.Result, bool) {
		l.remote.mu.Lock()
		slow := l.slow
		l.remote.mu.Unlock()
		if slow {
			aSecond()
		}
		l.remote.mu.Lock()
		defer l.remote.mu.Unlock()
		if l.wrong && session && time.Since(l.refusedAt) < time.Second {
			return refusedCredential, false // one call logs in for all, and the others do not repeat a refused login
		}
		result := l.look()
		return result, result.Outcome == provider.Applied
	})
	r.remote.onCheck(l.look)
	return l
}

// look is what the remote system does with the credential of a call. remote.mu is held.
func (l *lockRig) look() provider.Result {
	l.uses++
	if !l.wrong {
		l.refused = 0
		return applied
	}
	l.refused++
	l.most = max(l.most, l.refused)
	if l.unseen > 0 {
		l.unseen--
		if l.remote.lockout.Session {
			return provider.Result{Outcome: provider.Unreachable, Scope: provider.ScopeConnection, Unseen: true, Reason: "no session"}
		}
		return unknown
	}
	l.refusedAt = time.Now()
	return refusedCredential
}

// setWrong sets whether the credential is refused, because its secret was changed elsewhere.
func (l *lockRig) setWrong(wrong bool) {
	l.remote.mu.Lock()
	defer l.remote.mu.Unlock()
	l.wrong = wrong
}

// loseRefusals makes the answers to the next n refusals get lost.
func (l *lockRig) loseRefusals(n int) {
	l.remote.mu.Lock()
	defer l.remote.mu.Unlock()
	l.unseen = n
}

// setSlow sets whether each change takes a second.
func (l *lockRig) setSlow(slow bool) {
	l.remote.mu.Lock()
	defer l.remote.mu.Unlock()
	l.slow = slow
}

// counts returns how many calls presented the credential, and the most refusals in a row.
func (l *lockRig) counts() (uses, most int) {
	l.remote.mu.Lock()
	defer l.remote.mu.Unlock()
	return l.uses, l.most
}

// requireUnlocked asserts that the credential was never locked.
func (l *lockRig) requireUnlocked() {
	l.Helper()
	_, most := l.counts()
	require.LessOrEqual(l, most, 4, "the fifth refusal in a row locks the credential")
}

// crash ends the engine while it changes the passwords of these roles: the answers come, and are lost.
func (r *rig) crash(roles ...string) {
	dead, calls := r.engine, r.remote.changeCount()
	for _, role := range roles {
		go func() { _, _ = dead.Rotate(context.Background(), r.storage, role, 0) }()
	}
	for range 100 { // until a call runs, if one may
		synctest.Wait()
		if r.remote.changeCount() > calls {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.storage.failAll()
	dead.Stop()
	r.storage.heal()
	r.start()
}

// oneCloud is a provider whose services the engine knows to be of one cloud, as those of the public cloud are. The simulated
// ones, which lock a key for all of them, have addresses on loopback that have nothing in common.
type oneCloud struct{ provider.Type }

func (o oneCloud) Lockout(c provider.Connection) provider.Lockout {
	if o.Name() != "plesk" {
		c.URL = "https://dcs.ap-southeast-3.myhuaweicloud.com"
	}
	return o.Type.Lockout(c)
}
