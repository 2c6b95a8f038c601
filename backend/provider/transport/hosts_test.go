package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

// recorder is a network in which nothing is dialed: it records what would have been.
type recorder struct {
	network
	mu     sync.Mutex
	dialed []string
}

// record returns a network whose dialer stops at the last moment before it connects. Its name server resolves every name to
// the addresses.
func record(t *testing.T, resolved ...string) *recorder {
	t.Helper()
	r := &recorder{network: loopback(t)}
	r.dialer.ControlContext = func(ctx context.Context, network, address string, c syscall.RawConn) error {
		if err := control(ctx, network, address, c); err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.dialed = append(r.dialed, address)
		return errors.New("not dialed")
	}
	r.dialer.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go serveNames(server, resolved)
		return client, nil
	}}
	return r
}

// serveNames answers queries for A and AAAA records over TCP.
func serveNames(conn net.Conn, resolved []string) {
	defer func() { _ = conn.Close() }()
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		end := 12 + bytes.IndexByte(query[12:], 0) + 5 // of the question: its name, type and class
		answers := byte(0)
		message := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, query[12:end]...)
		for _, text := range resolved {
			address := netip.MustParseAddr(text)
			if kind := query[end-3]; address.Is4() == (kind == 1) {
				answers++
				message = append(message, 0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, byte(address.BitLen()/8))
				message = append(message, address.AsSlice()...)
			}
		}
		message[7] = answers
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)); err != nil {
			return
		}
	}
}

func (r *recorder) send(t *testing.T, hosts provider.Hosts, address string) provider.Result {
	t.Helper()
	c, err := newClient(Endpoint{Field: "url"}, r.network)
	require.NoError(t, err)
	_, err = send(provider.WithHosts(t.Context(), hosts), c, address)
	require.Error(t, err)
	return Failure(err)
}

// What is at the address does not matter, because it is never dialed: one error for all.
func TestForbiddenAddressIsNeverDialed(t *testing.T) {
	for _, address := range []string{
		"169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "[fd00:ec2::254]", "[::169.254.169.254]", "[::ffff:169.254.169.254]",
		"[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "[2001:0:c000:201:0:0:5601:5601]", "[2001:db8::5efe:a9fe:a9fe]", "0.0.0.0", "[ff02::1]",
	} {
		_, err := ParseURL("url", "https://"+address, false)
		require.ErrorContains(t, err, "metadata service", address)
		r := record(t)
		for _, port := range []string{":80", ":443"} {
			result := r.send(t, provider.Hosts{"*"}, "https://"+address+port)
			require.Contains(t, result.Reason, "which a connection may not use; correct url; nothing was sent", address)
			require.Equal(t, provider.Unreachable, result.Outcome)
			require.True(t, result.Misconfigured)
		}
		require.Empty(t, r.dialed)
	}
}

// A name is judged by the address that it has when it is dialed, whatever it was when the connection was written.
func TestResolvedAddressIsChecked(t *testing.T) {
	for name, test := range map[string]struct {
		hosts    provider.Hosts
		resolved []string
		dialed   string
	}{
		"any host":                           {nil, []string{"192.0.2.1"}, "192.0.2.1:443"},
		"a glob matches the name":            {provider.Hosts{"*.example"}, []string{"192.0.2.1"}, "192.0.2.1:443"},
		"a network contains the address":     {provider.Hosts{"192.0.2.0/24"}, []string{"192.0.2.1"}, "192.0.2.1:443"},
		"a network contains one of them":     {provider.Hosts{"2001:db8::/32"}, []string{"192.0.2.1", "2001:db8::1"}, "[2001:db8::1]:443"},
		"neither":                            {provider.Hosts{"*.other", "10.0.0.0/8"}, []string{"192.0.2.1"}, ""},
		"forbidden":                          {nil, []string{"169.254.169.254", "fd00:ec2::254", "64:ff9b::a9fe:a9fe", "100.100.100.200"}, ""},
		"forbidden, although allowed":        {provider.Hosts{"*.example", "*", "169.254.0.0/16"}, []string{"169.254.169.254"}, ""},
		"forbidden beside one that may be":   {nil, []string{"169.254.169.254", "192.0.2.1"}, "192.0.2.1:443"},
		"a name that looks like the network": {provider.Hosts{"192.0.2.1"}, []string{"198.51.100.1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := record(t, test.resolved...)
			result := r.send(t, test.hosts, "https://panel.example")
			if test.dialed != "" {
				require.Equal(t, []string{test.dialed}, r.dialed)
				return
			}
			require.Empty(t, r.dialed)
			require.True(t, result.Misconfigured, result.Reason)
			if name == "neither" {
				require.Equal(t, "allowed_hosts in the mount's settings does not allow the host in url; nothing was sent", result.Reason, "it does not tell the address")
			}
		})
	}
}

// Vault does not see the address to which a proxy connects, and allowed_hosts is not about the proxy itself.
func TestAllowedHostsBehindProxy(t *testing.T) {
	for host, dialed := range map[string]bool{"panel.example.com": true, "10.0.0.1": true, "other.example": false, "11.0.0.1": false} {
		r := record(t)
		proxy, err := url.Parse("http://127.0.0.1:3128")
		require.NoError(t, err)
		r.proxy = func(*http.Request) (*url.URL, error) { return proxy, nil }
		result := r.send(t, provider.Hosts{"*.example.com", "10.0.0.0/8"}, "https://"+host)
		require.Equal(t, dialed, len(r.dialed) > 0, "%s: %s", host, result.Reason)
		if !dialed {
			require.Contains(t, result.Reason, "allowed_hosts")
		}
	}
}

// silent returns the address of a listener that accepts and says nothing, and counts its open connections.
func silent(t *testing.T) (address string, open func() int64) {
	t.Helper()
	var listening net.ListenConfig
	l, err := listening.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	var count atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			go func() {
				defer count.Add(-1)
				defer func() { _ = conn.Close() }()
				for buffer := make([]byte, 4096); ; {
					if _, err := conn.Read(buffer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String(), count.Load
}

// One deadline bounds the connection, the handshake and the answer: a silent remote system keeps no socket of Vault open.
func TestConnectionIsClosedWhenRequestEnds(t *testing.T) {
	address, open := silent(t)
	for name, scheme := range map[string]string{"in the handshake": "https://", "waiting for the answer": "http://"} {
		t.Run(name, func(t *testing.T) {
			c := client(t, provider.TLS{Insecure: true})
			var callers sync.WaitGroup
			for range 20 {
				callers.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
					defer cancel()
					_, err := send(ctx, c, scheme+address)
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("got %v", err)
					}
				})
			}
			callers.Wait()
			require.Eventually(t, func() bool { return open() == 0 }, 2*time.Second, 5*time.Millisecond, "the handshake alone may take 10 seconds")
		})
	}
}
