package lab

import (
	"encoding/json"
	"net"
	"sync"
	"time"
)

// Fail2Ban bans an address that is refused too often, over all accounts. A login
// that is accepted does not reset the count. While an address is banned, a firewall
// drops its packets: pass [Fail2Ban.Drops] to [Door.Filter]. All methods are safe
// for concurrent use.
//
// https://docs.plesk.com/en-US/obsidian/administrator-guide/server-administration/protection-against-brute-force-attacks-fail2ban.73381/
type Fail2Ban struct {
	clock *Clock

	mu                      sync.Mutex
	limit                   int // refusals that ban an address; 0: never
	findSeconds, banSeconds int
	senders                 map[string]*sender // by address
	times                   []time.Time
	most, bans              int
}

// sender is one address.
type sender struct {
	refused     []time.Time
	bannedUntil time.Time
}

// maxRefusals limits the memory of a long-running simulator.
const maxRefusals = 10_000

// NewFail2Ban returns a Fail2Ban that bans an address for ten minutes after so many
// refusals in ten minutes; 0: never.
func NewFail2Ban(clock *Clock, limit int) *Fail2Ban {
	return &Fail2Ban{clock: clock, limit: limit, findSeconds: 600, banSeconds: 600, senders: map[string]*sender{}}
}

// Refused counts a refusal of a client, host:port.
func (f *Fail2Ban) Refused(remote string) {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return
	}
	now := f.clock.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.times = append(f.times, now); len(f.times) > maxRefusals {
		f.times = f.times[1:]
	}
	from := f.senders[host]
	if from == nil {
		from = &sender{}
		f.senders[host] = from
	}
	from.refused = append(from.refused, now)
	for len(from.refused) > 0 && now.Sub(from.refused[0]) >= time.Duration(f.findSeconds)*time.Second {
		from.refused = from.refused[1:]
	}
	f.most = max(f.most, len(from.refused))
	if f.limit > 0 && len(from.refused) >= f.limit {
		from.refused = nil
		from.bannedUntil = now.Add(time.Duration(f.banSeconds) * time.Second)
		f.bans++
	}
}

// Drops reports whether the packets of an address are dropped.
func (f *Fail2Ban) Drops(remote net.Addr) bool {
	host, _, err := net.SplitHostPort(remote.String())
	if err != nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	from := f.senders[host]
	return from != nil && from.bannedUntil.After(f.clock.Now())
}

// Refusals are what a [Fail2Ban] has counted since it was last set.
type Refusals struct {
	// Times are those of all refusals, oldest first.
	Times []time.Time `json:"times"`
	// Most is the highest number of refusals of one address within fail2ban_find_seconds.
	Most int `json:"most_refused"`
	Bans int `json:"bans"` // how often an address was banned
}

// MostWithin returns the highest number of refusals in any period of this length.
func (r Refusals) MostWithin(period time.Duration) int {
	most, first := 0, 0
	for i, t := range r.Times {
		for t.Sub(r.Times[first]) >= period {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// Refusals returns what was counted since the switch fail2ban was set.
func (f *Fail2Ban) Refusals() Refusals {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Refusals{Times: append([]time.Time{}, f.times...), Most: f.most, Bans: f.bans}
}

// Settings are the switches. They lock f.
//
//	fail2ban               refusals of one address that ban it; 0: never. Forgets all refusals and bans
//	fail2ban_find_seconds  in which they count (default 600)
//	fail2ban_ban_seconds   how long all packets of the address are dropped (default 600)
func (f *Fail2Ban) Settings() Settings {
	locked := func(into *int, then func()) Setting {
		setting := Number(into)
		return Setting{Values: setting.Values, Set: func(raw json.RawMessage) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if err := setting.Set(raw); err != nil {
				return err
			}
			then()
			return nil
		}}
	}
	nothing := func() {}
	return Settings{
		"fail2ban": locked(&f.limit, func() {
			f.senders, f.times, f.most, f.bans = map[string]*sender{}, nil, 0, 0
		}),
		"fail2ban_find_seconds": locked(&f.findSeconds, nothing),
		"fail2ban_ban_seconds":  locked(&f.banSeconds, nothing),
	}
}
