package lockout

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"
)

// A trial checks a secret that an operator writes, before it is stored. The remote system counts its refusal for the login,
// whichever secret was wrong. Tools write the same obsolete secret over and over, so a secret that was refused in a trial is
// not tried again, and trials leave enough attempts for the secret in use.

const (
	// reserved is how many attempts trials leave for the secret in use: it may be refused, and then it is checked.
	reserved = 2
	// maxTried is how many refused secrets a guard remembers.
	maxTried = 16
)

// Trial describes a trial of an operator.
type Trial struct {
	// By is the connection that the operator writes.
	By string
	// InUse: the connection uses the secret already.
	InUse bool
	// Refused: the remote system refused this secret before, so a presumption that it has forgotten pays for no attempt.
	Refused bool
	// Force: the operator accepts that one more refusal may lock the credential or block the sender.
	Force bool
}

// Tried is a secret that was refused in a trial.
type Tried struct {
	// Sum is a keyed fingerprint of the secret.
	Sum string `json:"sum"`
	// By is the connection that was written, and Time is when.
	By   string    `json:"by"`
	Time time.Time `json:"time"`
}

// Presents says which connection makes the call, and which secret it presents, by its fingerprint. Another secret of the
// same login that works now is not charged with its refusals.
func (p *Permit) Presents(connection, secret string) {
	g := p.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	p.by, p.secret = connection, secret
	if g.proved && g.secret != "" && g.secret != secret {
		p.tries()
	}
}

// another returns the connection whose call was refused last; "" if it is the one that makes this call.
func (p *Permit) another(a Attempts) string {
	if a.Refused == 0 || a.By == p.by {
		return ""
	}
	return a.By
}

// ForTrial marks the call as the trial of an operator.
func (p *Permit) ForTrial(t Trial) {
	g := p.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	p.check, p.of = true, t
	if !t.InUse {
		p.tries()
	}
}

// tries marks the call as a trial, which is always counted. g.mu must be held.
func (p *Permit) tries() {
	p.trial, p.proved = true, false
	p.counted = p.guard.Counts()
}

// endLease ends the lease, and returns how many other calls run that it covered. Calls that begin later are counted.
func (g *login) endLease() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.leased {
		return 0
	}
	g.leased = false
	return min(g.together(), max(0, g.running-1))
}

// forTrials returns how many refusals trials may cause. If the secret in use is refused, they may use all attempts.
func (g *login) forTrials(a Attempts) int {
	if a.Refused > a.Trials {
		return g.limit()
	}
	return max(1, g.limit()-reserved)
}

// triedKey is the key of the entry of refused secrets.
func (g *login) triedKey() string { return keyOf("tried|" + g.key) }

// Tried returns the trial in which this secret was refused, and the last one in which any was; nil if there is none.
func (g *login) Tried(ctx context.Context, s Store, secret string) (same, last *Tried, err error) {
	a, err := s.Attempts(ctx, g.triedKey())
	if err != nil || len(a.Tried) == 0 {
		return nil, nil, err
	}
	if at := a.tried(secret); at >= 0 {
		same = &a.Tried[at]
	}
	return same, &a.Tried[len(a.Tried)-1], nil
}

// tried returns the index of a secret, or -1.
func (a Attempts) tried(secret string) int {
	sum := a.sum(secret)
	return slices.IndexFunc(a.Tried, func(t Tried) bool { return hmac.Equal([]byte(t.Sum), []byte(sum)) })
}

// sum returns the keyed fingerprint of a secret.
func (a Attempts) sum(secret string) string {
	mac := hmac.New(sha256.New, a.TriedKey)
	mac.Write([]byte(secret))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// note stores that a trial was refused, or that a secret works after all.
func (p *Permit) note(ctx context.Context, s Store, refused, worked bool) {
	g := p.guard
	if p.of.By == "" || !g.Costly() || !refused && !worked {
		return
	}
	g.storing <- struct{}{} // held over storage calls only
	defer func() { <-g.storing }()
	a, err := s.Attempts(ctx, g.triedKey())
	if err == nil {
		at := a.tried(p.secret)
		if at < 0 && !refused {
			return
		}
		if at >= 0 {
			a.Tried = slices.Delete(a.Tried, at, at+1)
		}
		if len(a.TriedKey) == 0 {
			a.TriedKey = make([]byte, sha256.Size)
			_, _ = rand.Read(a.TriedKey) // never returns an error: crypto/rand crashes the program instead
		}
		if refused {
			a.Tried = append(a.Tried, Tried{Sum: a.sum(p.secret), By: p.of.By, Time: g.Now()})
			a.Tried = a.Tried[max(0, len(a.Tried)-maxTried):]
			a.Last = g.Now() // a day later, it is forgotten
		}
		err = s.PutAttempts(ctx, g.triedKey(), a)
	}
	if err != nil {
		g.Warn("could not store that a secret was refused: it may be tried again", err)
	}
}
