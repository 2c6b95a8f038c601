package lab

import (
	"encoding/json"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFail2BanBansOneAddressForATime(t *testing.T) {
	clock := NewClock(func() time.Time { return time.Unix(1_800_000_000, 0) })
	f := NewFail2Ban(clock, 3)
	here, there := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: 1}
	f.Refused("127.0.0.1:1001")
	f.Refused("127.0.0.1:1002")
	f.Refused("127.0.0.2:1003")
	clock.Advance(10 * time.Minute)
	f.Refused("127.0.0.1:1004")
	require.False(t, f.Drops(here), "two of the refusals are forgotten")
	clock.Advance(9 * time.Minute)
	f.Refused("127.0.0.1:1005")
	require.False(t, f.Drops(here))
	f.Refused("127.0.0.1:1006")
	require.True(t, f.Drops(here))
	require.False(t, f.Drops(there))
	clock.Advance(10*time.Minute - 1)
	require.True(t, f.Drops(here))
	clock.Advance(1)
	require.False(t, f.Drops(here))

	counted := f.Refusals()
	require.Len(t, counted.Times, 6)
	require.Equal(t, 3, counted.Most)
	require.Equal(t, 1, counted.Bans)
	require.Equal(t, 3, counted.MostWithin(9*time.Minute), "the first three, of two addresses")
	require.Equal(t, 3, counted.MostWithin(10*time.Minute))
	require.Equal(t, 4, counted.MostWithin(11*time.Minute))
	require.Equal(t, 6, counted.MostWithin(20*time.Minute))
	require.Zero(t, Refusals{}.MostWithin(time.Hour))
}

func TestFail2BanIsSettable(t *testing.T) {
	f := NewFail2Ban(NewClock(nil), 5)
	set := func(name, value string) { require.NoError(t, f.Settings().Set(name, json.RawMessage(value))) }
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	set("fail2ban", "1")
	f.Refused(from.String())
	require.True(t, f.Drops(from))
	set("fail2ban", "0")
	require.False(t, f.Drops(from), "bans are forgotten")
	require.Empty(t, f.Refusals().Times)
	for range 20 {
		f.Refused(from.String())
	}
	require.False(t, f.Drops(from))
	require.Len(t, f.Refusals().Times, 20, "refusals are counted even if they ban nobody")
	set("fail2ban", "1")
	set("fail2ban_ban_seconds", "0")
	f.Refused(from.String())
	require.False(t, f.Drops(from))
	require.Error(t, f.Settings().Set("fail2ban", json.RawMessage("-1")))
}
