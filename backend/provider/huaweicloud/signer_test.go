package huaweicloud

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// The first vector is the sample from Huawei's signing guide
// (https://support.huaweicloud.com/intl/en-us/devg-apisign/apisign-devg-pdf.pdf); the others were generated with Huawei's
// SDK and with openssl.
func TestSignaturesMatchOtherImplementations(t *testing.T) {
	const (
		ak   = "AKEXAMPLE0001"
		sk   = "SKEXAMPLE/secret+key0001"
		host = "https://clouddc.ap-southeast-3.myhuaweicloud.com"
		body = `{"new_password":"Ab1!<&>x","instance_id_set":["i1"]}`
	)
	for name, test := range map[string]struct {
		ak, sk, date         string
		method, url, body    string
		headers              map[string]string
		signed               string
		bodyHash             string
		canonical, signature string
	}{
		"V0: the guide's sample": {
			ak: "QTWAOYTTINDUT2QVKYUC", sk: "MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc", date: "20191115T033655Z",
			method:  http.MethodGet,
			url:     "https://service.region.example.com/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs?limit=2&marker=13551d6b-755d-4757-b956-536f674975c0",
			headers: map[string]string{"Content-Type": "application/json"}, signed: "content-type;host;x-sdk-date",
			bodyHash:  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			canonical: "b25362e603ee30f4f25e7858e8a7160fd36e803bb2dfe206278659d71a9bcd7a",
			signature: "7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe",
		},
		"V1: a body": {
			ak: ak, sk: sk, date: "20240102T030405Z",
			method: http.MethodPut, url: host + "/v1/p123/instances/password", body: body + "\n",
			headers: map[string]string{"X-Project-Id": "p123"}, signed: "x-project-id;x-sdk-date",
			bodyHash:  "8cbaae10174e6271630e8f3e75ff8ea0d66b998065a12bbaa2e180a3b92095d5",
			canonical: "cea8e9e79a7c37139b4fb0d6e1e0f00f3740fc06a81a66cebe134fca75df4d4d",
			signature: "b1c3cd7ed9dedc077da438eca4795f03933f583a310215c8bb9c29ec96d40f8d",
		},
		"V2: a query and temporary keys": {
			ak: ak, sk: sk, date: "20240102T030405Z",
			method: http.MethodGet, url: host + "/v1/p123/instances?instance_id=a%2Cb%20c&limit=10",
			headers: map[string]string{"X-Project-Id": "p123", "X-Security-Token": "tok"}, signed: "x-project-id;x-sdk-date;x-security-token",
			bodyHash:  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			canonical: "1d97ecdcc32f3855da0000c50091b2bb32e7d2b4eab0cb4e165878358a46d945",
			signature: "0153f488ae25e733d10c142a758f26c4bb4a445b2c09a01a5453bb2355b7960f",
		},
		"V3: everything that is signed here": {
			ak: ak, sk: sk, date: "20240102T030405Z",
			method: http.MethodPut, url: host + "/v1/p123/instances/password", body: body,
			headers: map[string]string{"X-Project-Id": "p123", "Content-Type": "application/json;charset=UTF-8"},
			signed:  "content-type;host;x-project-id;x-sdk-date",

			bodyHash:  "740e06670b5b71420ec496789cc78e951beb42cee4d236c347c3d718f31cfb5b",
			canonical: "8d2c2f858a8119c53192b5337fc0093896853aeeda21d67997c9c29efbab104f",
			signature: "142e51832defbd4f2b17c004bb22a25dbe264b704792e4c99b5925aa667aaadf",
		},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequest(test.method, test.url, strings.NewReader(test.body))
			require.NoError(t, err)
			req.Header.Set("X-Sdk-Date", test.date)
			for header, value := range test.headers {
				req.Header.Set(header, value)
			}
			names := strings.Split(test.signed, ";")
			body := []byte(test.body)
			require.Equal(t, test.bodyHash, hexSum(body))
			require.Equal(t, test.canonical, hexSum([]byte(canonicalRequest(req, body, names))))

			signer := Signer{AccessKey: test.ak, SecretKey: transport.NewSecret(test.sk)}
			signer.sign(req, body, names)
			require.Equal(t,
				"SDK-HMAC-SHA256 Access="+test.ak+", SignedHeaders="+test.signed+", Signature="+test.signature,
				req.Header.Get("Authorization"))
		})
	}
}

func TestSignCoversPresentHeaders(t *testing.T) {
	now := time.Date(2024, 1, 2, 4, 4, 5, 0, time.FixedZone("east", 3600))
	signer := Signer{
		AccessKey: "AKEXAMPLE0001", SecretKey: transport.NewSecret("SKEXAMPLE/secret+key0001"),
		Now: func() time.Time { return now },
	}
	body := []byte(`{"new_password":"Ab1!<&>x","instance_id_set":["i1"]}`)
	req, err := http.NewRequest(http.MethodPut, "https://clouddc.ap-southeast-3.myhuaweicloud.com/v1/p123/instances/password", nil)
	require.NoError(t, err)
	req.Header.Set("X-Project-Id", "p123")
	req.Header.Set("Content-Type", "application/json;charset=UTF-8")
	signer.Sign(req, body)
	require.Equal(t, "20240102T030405Z", req.Header.Get("X-Sdk-Date"), "the date is in UTC")
	require.Contains(t, req.Header.Get("Authorization"),
		"SignedHeaders=content-type;host;x-project-id;x-sdk-date, Signature=142e51832defbd4f2b17c004bb22a25dbe264b704792e4c99b5925aa667aaadf")

	signer.SecurityToken = transport.NewSecret("tok")
	signer.Sign(req, body)
	require.Equal(t, "tok", req.Header.Get("X-Security-Token"))
	require.Contains(t, req.Header.Get("Authorization"), "SignedHeaders=content-type;host;x-project-id;x-sdk-date;x-security-token,")
}

func TestSignatureUsesCanonicalURL(t *testing.T) {
	for url, want := range map[string][2]string{
		"https://h":                  {"/", ""},
		"https://h/":                 {"/", ""},
		"https://h/a/b":              {"/a/b/", ""},
		"https://h/a/b/":             {"/a/b/", ""},
		"https://h/a b/ü~!":          {"/a%20b/%C3%BC~%21/", ""},
		"https://h/?b=2&a=2&a=1&c":   {"/", "a=1&a=2&b=2&c="},
		"https://h/?q=a+b&r=%2F":     {"/", "q=a%20b&r=%2F"},
		"https://h:8443/x?limit=1":   {"/x/", "limit=1"},
		"https://h/x?Z=1&a=1&%C3=%3": {"/x/", "Z=1&a=1"},
	} {
		req, err := http.NewRequest(http.MethodGet, url, nil)
		require.NoError(t, err)
		require.Equal(t, want, [2]string{canonicalPath(req.URL), canonicalQuery(req.URL)}, url)
	}
}
