package transport

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// said returns the response to a request with a password in its body and a key in a header.
func said(t *testing.T) *Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://h/", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Scheme deadbeef-0123-4567-89ab-cdef00112233")
	req.Header.Set("User-Agent", UserAgent)
	return &Response{sent: sentBy(req, []byte(`{"password":"Testpass.47114711"}`))}
}

func TestRequestIDsAreHexadecimalAndNotEchoes(t *testing.T) {
	t.Parallel()
	for text, shown := range map[string]bool{
		"5f0c1d2e3b4a59687766554433221100": true, "token_5f0c1d2e3b4a59687766554433221100": true, "req-1": true, "7": true,
		"5f0c1d2e-3b4a-5968-7766-554433221100": true,
		"":                                     false, "a b": false, "ü": false, "<script>": false, "1\n": false, "Some.Word": false,
		strings.Repeat("1", 41):                false,
		"deadbeef-0123-4567-89ab-cdef00112233": false, "req-deadbeef-0123": false, "cdef00112233": false,
		hex.EncodeToString([]byte("Testpass.4711471")): false, "req-" + hex.EncodeToString([]byte("Testpass")): false,
	} {
		want := ""
		if shown {
			want = text
		}
		require.Equal(t, want, said(t).RequestID(text))
	}
}

func TestEchoesFindsRequestText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"Testpass.47114711", "xTestpass.47114711y", "estpass.", base64.StdEncoding.EncodeToString([]byte("Testpass.47114711")),
		"C" + base64.RawURLEncoding.EncodeToString([]byte("xTestpass.47114711")), "Co" + base64.RawStdEncoding.EncodeToString([]byte("Testpass.47114711")),
		"Cod" + base64.RawStdEncoding.EncodeToString([]byte("xxTestpass.47114711")), "x" + hex.EncodeToString([]byte("Testpass.")),
		"DEAD" + "deadbeef",
	} {
		require.True(t, said(t).Echoes(text), text)
	}
	for _, text := range []string{"", "InvalidPassword", "DCS.4961", "APIGW.0301", "Testpas", "1001", UserAgent} {
		require.False(t, said(t).Echoes(text), text)
		require.False(t, (&Response{}).Echoes(text), "nothing was sent")
	}
	require.NotContains(t, strings.ToLower(printed(said(t))), "testpass")
}

// printed formats a response with every verb of fmt that could expose it.
func printed(r *Response) string {
	return fmt.Sprintf("%v %+v %#v %v", r, r, r, *r)
}
