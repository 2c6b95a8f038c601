package main

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// A server may write before it is asked, and Go's client logs that by itself where it comes at a bad moment, which it does
// in one of some twenty connections. That it stands in no record is found out with all other secrets.
func TestWhatAServerSaysUnaskedIsNotLogged(t *testing.T) {
	t.Parallel()
	m := bareMount(t)
	const unasked = "Test-Unasked-Passw0rd.1"
	secrets.add("what a server says unasked", unasked)
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan struct{})
	t.Cleanup(func() { require.NoError(t, listener.Close()); <-ended })
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("the password is " + unasked + "\r\n\r\n")) // whoever asks may be gone
			_ = conn.Close()
		}
	}()
	for range 200 {
		_, err := m.write("config/hostile", data{
			"provider": "mediatemple", "url": "http://" + listener.Addr().String(), "insecure_tls": true, "api_key": "Test-Key-4711",
		})
		require.Equal(t, 502, status(err), message(err))
	}
}
