package modelcheck

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// door is where a person logs in to one part of an account: an SSH server, or the remote system's own API.
type door struct {
	acc     *account
	part    *part
	address string
	rng     *rand.Rand
	mood    mood
	// keys counts the host keys that it has had.
	keys int
	// refused is when it refused logins of the engine, as far back as the budget counts. No other logins are refused there, so
	// servers that block an address after a few refusals do not block Vault.
	refused []time.Time
	// chain are the passwords that it has refused one after the other, since the role was last stored.
	chain  []string
	writes int
}

// mood is how a door treats logins for a while.
type mood string

const (
	isOpen       mood = "open"
	isSlow       mood = "slow"
	isFlaky      mood = "flaky, and loses answers"
	isOut        mood = "out of reach"
	isSilent     mood = "silent, and never answers"
	noPasswords  mood = "closed to passwords"
	refusesAll   mood = "refusing every password"
	moodsToDraw       = 9
	budgetWindow      = 15 * time.Minute
	budget            = 2
)

// drawMood draws how a door treats logins; most are open.
func (w *world) drawMood() mood {
	return []mood{isOpen, isOpen, isOpen, isSlow, isFlaky, isOut, isSilent, noPasswords, refusesAll}[w.rng.IntN(moodsToDraw)]
}

func newDoor(acc *account, p *part, number, at int) *door {
	return &door{acc: acc, part: p, address: fmt.Sprintf("10.0.%d.%d:22", number, at), rng: acc.w.newRNG(), mood: isOpen, keys: 1}
}

// hostKey is the fingerprint of the host key that the door presents.
func (d *door) hostKey() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", d.address, d.keys))
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// honest reports whether logins show which password works. w.mu is held.
func (d *door) honest() bool {
	open := d.mood == isOpen || d.mood == isSlow
	return open && strings.Contains(string(d.acc.w.disk.entries[optionsKey(d.acc)]), d.hostKey())
}

// answer is what the door says to a login, and after how long. sent: the password reaches it. w.mu is held.
func (d *door) answer(password string) (proof provider.Proof, delay time.Duration) {
	w := d.acc.w
	d.acc.advance(w.now())
	unsure := func(reason string, unsent bool) provider.Proof {
		return provider.Proof{Verdict: provider.CannotTell, Unsent: unsent, Reason: reason}
	}
	switch d.mood {
	case isOut:
		return unsure("it cannot be reached", true), 0
	case noPasswords:
		return unsure("it takes no passwords", true), 0
	case isSilent:
		delay = time.Hour
	case isSlow:
		delay = time.Duration(1+d.rng.IntN(4)) * time.Second
	default: // at once
	}
	if d.part.isDown() && d != d.acc.api {
		return unsure("the server is down", true), 0
	}
	if password != d.part.held || d.mood == refusesAll {
		d.refuse(w.now())
		proof = provider.Proof{Verdict: provider.Refused, Reason: "the password was refused"}
	} else {
		proof = provider.Proof{Verdict: provider.Works, Reason: "the login succeeded"}
	}
	if d.mood == isFlaky && d.rng.IntN(2) == 0 {
		proof = unsure("the connection was cut", false)
	}
	return proof, delay
}

// refuse is P1: the engine keeps the budget of refused logins, whatever it knows of their answers. w.mu is held.
func (d *door) refuse(now time.Time) {
	var recent []time.Time
	for _, at := range d.refused {
		if now.Sub(at) < budgetWindow {
			recent = append(recent, at)
		}
	}
	recent = append(recent, now)
	if d.refused = recent; len(d.refused) > budget {
		d.acc.w.fail("P1: %s (%s) has refused %d logins within %s", d.acc.login, d.part.name, len(d.refused), budgetWindow)
	}
}

// anyDoor returns one of the doors of the account. w.mu is held.
func (acc *account) anyDoor() *door {
	if acc.system.spec.api && acc.w.chance(50) {
		return acc.api
	}
	return acc.parts[acc.w.rng.IntN(len(acc.parts))].door
}

// openDoors opens all doors of the account. w.mu is held.
func (acc *account) openDoors() {
	acc.api.mood = isOpen
	for _, p := range acc.parts {
		p.door.mood = isOpen
	}
	acc.w.note("the doors of %s are open", acc.login)
}
