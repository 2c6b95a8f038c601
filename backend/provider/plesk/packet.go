package plesk

import (
	"encoding/xml"

	"vault-plugin-secrets-hosting/backend/provider"
)

// requestPacket is a packet to the server with one operation. It specifies no protocol version, so the server uses its
// latest (https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/xml-api-packets/packet-structure.28722).
type requestPacket struct {
	XMLName xml.Name      `xml:"packet"`
	Server  serverRequest `xml:"server"`
}

type serverRequest struct {
	SetAlias *setAlias `xml:"set-admin-alias,omitempty"`
	Get      *get      `xml:"get,omitempty"`
	// GetProtos requests the protocol versions, which every account with access to the API is permitted to do:
	// https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/reference/managing-plesk-server/getting-supported-protocols.36172
	GetProtos *struct{} `xml:"get_protos,omitempty"`
}

// setAlias applies Data to every account that Filter matches. The schema requires this order.
type setAlias struct {
	Filter aliasFilter `xml:"filter"`
	Data   aliasData   `xml:"data"`
}

// aliasFilter names one login only: several would share a single result.
type aliasFilter struct {
	Login string `xml:"login"`
}

// aliasData holds the password only: a login here would rename the account. It must be printable ASCII, and so must the
// login of the filter: encoding/xml replaces characters that XML cannot represent, and the password set would differ from
// the stored one.
type aliasData struct {
	provider.Hidden
	Password string `xml:"password"`
}

// get requests the server's name. Only administrators are permitted to do that; the cheaper get_protos is open to
// customers too and would prove no permission.
type get struct {
	GenInfo struct{} `xml:"gen_info"`
}

// Names of the operations, which responses repeat.
const (
	operationSetAlias  = "set-admin-alias"
	operationGet       = "get"
	operationGetProtos = "get_protos"
)
