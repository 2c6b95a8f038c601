package plesk

import (
	"encoding/json"
	"net"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// sender counts the refused requests of one address, over all logins and secret
// keys, as Fail2Ban's jail plesk-panel does. A request that Plesk accepts does not
// reset the count. While the address is banned, a firewall drops its packets.
//
// https://docs.plesk.com/en-US/obsidian/administrator-guide/server-administration/protection-against-brute-force-attacks-fail2ban.73381/
type sender struct {
	refused     []time.Time
	bannedUntil time.Time
}

// refusedFrom counts a refused request. s.mu must be held.
func (s *Server) refusedFrom(remote string) {
	host, _, err := net.SplitHostPort(remote)
	if err != nil || s.switches.fail2ban == 0 {
		return
	}
	now := s.lab.Clock.Now()
	from := s.senders[host]
	if from == nil {
		from = &sender{}
		s.senders[host] = from
	}
	from.refused = append(from.refused, now)
	for len(from.refused) > 0 && now.Sub(from.refused[0]) >= time.Duration(s.switches.findSeconds)*time.Second {
		from.refused = from.refused[1:]
	}
	s.mostRefused = max(s.mostRefused, len(from.refused))
	if len(from.refused) >= s.switches.fail2ban {
		from.refused = nil
		from.bannedUntil = now.Add(time.Duration(s.switches.banSeconds) * time.Second)
		s.bans++
	}
}

// Drops reports whether the packets of an address are dropped.
func (s *Server) Drops(remote net.Addr) bool {
	host, _, err := net.SplitHostPort(remote.String())
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	from := s.senders[host]
	return from != nil && from.bannedUntil.After(s.lab.Clock.Now())
}

// SenderState describes what Fail2Ban has counted, in the control API.
type SenderState struct {
	// Most is the highest number of refused requests of one address within fail2ban_find_seconds.
	Most int `json:"most_refused"`
	Bans int `json:"bans"` // how often an address was banned
}

// Senders describes what Fail2Ban has counted since it was switched on.
func (s *Server) Senders() SenderState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SenderState{s.mostRefused, s.bans}
}

// switchFail2Ban parses the switch, which also forgets all refusals and bans.
func (s *Server) switchFail2Ban(raw json.RawMessage) error {
	err := lab.Number(&s.switches.fail2ban).Set(raw)
	if err == nil {
		s.senders, s.mostRefused, s.bans = map[string]*sender{}, 0, 0
	}
	return err
}
