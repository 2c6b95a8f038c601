package rotation

import (
	"context"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/verify"
)

// door is where passwords of the remote system are proved. It accepts the passwords in force, unless a test says otherwise.
type door struct {
	remote *remote

	mu     sync.Mutex
	answer func(l verify.Login) *provider.Proof
	// tried are the passwords of all logins, and refused is when they were refused.
	tried   []string
	refused []time.Time
}

// shut is the result of a login that cannot tell.
var shut = provider.Proof{Verdict: provider.CannotTell, Unsent: true, Reason: "the server cannot be reached"}

// login is the engine's Login.
func (d *door) login(_ context.Context, l verify.Login) provider.Proof {
	d.mu.Lock()
	answer := d.answer
	d.mu.Unlock()
	proof := provider.Proof{Verdict: provider.Works, Reason: "the login succeeded"}
	if d.remote.password(l.Username) != l.Password {
		proof = provider.Proof{Verdict: provider.Refused, Reason: "the server refused the password"}
	}
	if answer != nil {
		if other := answer(l); other != nil {
			proof = *other
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tried = append(d.tried, l.Password)
	if proof.Verdict == provider.Refused {
		d.refused = append(d.refused, time.Now())
	}
	return proof
}

// say answers all logins alike; nil: the door accepts the passwords in force.
func (d *door) say(proof *provider.Proof) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = func(verify.Login) *provider.Proof { return proof }
}

// refuses refuses one password, even if it is in force.
func (d *door) refuses(value string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = func(l verify.Login) *provider.Proof {
		if l.Password != value {
			return nil
		}
		return &provider.Proof{Verdict: provider.Refused, Reason: "the server refused the password"}
	}
}

// pauseAt makes the next login wait at a block, and no other.
func (d *door) pauseAt(b *block) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var first sync.Once
	d.answer = func(verify.Login) *provider.Proof {
		wait := false
		first.Do(func() { wait = true })
		if wait {
			b.wait()
		}
		return nil
	}
}

// refusals returns how many logins were refused.
func (d *door) refusals() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.refused)
}

// logins returns how many logins were made.
func (d *door) logins() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.tried)
}

// proves opens a door and sets the options of a role that proves its passwords there.
func (r *rig) proves() *door {
	d := &door{remote: r.remote}
	r.remote.logins = []provider.Login{{Kind: provider.LoginRedis, Address: "redis.example:6379"}}
	r.login = d.login
	r.restart()
	return d
}

// proved are the options of a role whose passwords are proved.
func proved(o *role.Options) { o.Verify, o.VerifyTLS = provider.LoginRedis, true }

// provesByAPI is proves with logins through the remote system's own API.
func (r *rig) provesByAPI() {
	r.remote.logins = []provider.Login{{Kind: provider.LoginWebCLI}}
	r.restart()
}

// provedByAPI are the options of a role whose passwords are proved so.
func provedByAPI(o *role.Options) { o.Verify, o.VerifyTLS = provider.LoginWebCLI, true }

// Prove is a login through the API of the remote system: it works if the credential does.
func (r *remote) Prove(ctx context.Context, target provider.Target, value string) (provider.Result, provider.Proof) {
	if result := r.CheckTarget(ctx, target); result.Outcome != provider.Applied {
		return result, provider.Proof{Verdict: provider.CannotTell, Unsent: true, Reason: result.Reason}
	}
	if r.password(target.Username) != value {
		return applied, provider.Proof{Verdict: provider.Refused, Reason: "the instance refused the password"}
	}
	return applied, provider.Proof{Verdict: provider.Works}
}
