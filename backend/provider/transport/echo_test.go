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

func TestRequestIDsAreUUIDsAndNotEchoes(t *testing.T) {
	t.Parallel()
	const id, password = "5f0c1d2e3b4a59687766554433229911", "Testpass.4711471"
	dashed := func(id string) string {
		return id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
	}
	planted := hex.EncodeToString([]byte(password))
	for text, shown := range map[string]bool{
		id: true, strings.ToUpper(id): true, dashed(id): true, "req-" + dashed(id): true, "token_" + id: true, "token_cn-north-4_" + id: true,
		"token_abcd-abcdefghijkl-999_" + dashed(id): true,
		"": false, "a b": false, "ü": false, "<script>": false, id + "\n": false, "Some.Word": false, "req-1": false, "7": false,
		strings.Repeat("1", 41): false, id + "0": false, id[1:]: false, "word-" + id: false, "token_Password-x-1_" + id: false, strings.Repeat("-", 36): false,
		"deadbeef-0123-4567-89ab-cdef00112233": false, "req-deadbeef-0123-4567-0000-000000000000": false,
		planted: false, dashed(planted): false, "req-" + planted: false, strings.ToUpper(planted): false,
		reversed(planted): false, dashed(reversed(planted)): false, hex.EncodeToString([]byte(reversed(password))): false,
		hex.EncodeToString([]byte("-12345" + reversed("Testpass.4"))): false,
	} {
		require.LessOrEqual(t, len(said(t).RequestID(text)), 64)
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
		"DEAD" + "deadbeef", "x" + reversed("Testpass."), reversed(base64.StdEncoding.EncodeToString([]byte("Testpass.4711"))),
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
