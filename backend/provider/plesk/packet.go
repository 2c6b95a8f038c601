package plesk

import (
	"encoding/xml"

	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// requestPacket is a packet to the server, with one operation. It names no protocol version: the server takes its
// newest (https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/xml-api-packets/packet-structure.28722).
type requestPacket struct {
	XMLName xml.Name      `xml:"packet"`
	Server  serverRequest `xml:"server"`
}

type serverRequest struct {
	SetAlias *setAlias `xml:"set-admin-alias,omitempty"`
	Get      *get      `xml:"get,omitempty"`
}

// setAlias sets what is in Data on every account that Filter names. The schema demands this order.
type setAlias struct {
	Filter aliasFilter `xml:"filter"`
	Data   aliasData   `xml:"data"`
}

// aliasFilter takes several logins and sets all of them, with one result for all; therefore one here.
type aliasFilter struct {
	Login string `xml:"login"`
}

// aliasData has the password only: a login here would rename the account.
type aliasData struct {
	transport.Hidden
	Password string `xml:"password"`
}

type get struct {
	GenInfo struct{} `xml:"gen_info"`
}

// Names of the operations, which the answers repeat.
const (
	operationSetAlias = "set-admin-alias"
	operationGet      = "get"
)

// setPasswordPacket returns the packet that sets a password. Both texts must be printable ASCII: encoding/xml replaces
// what XML cannot hold, and the password set would not be the one stored.
func setPasswordPacket(login, password string) ([]byte, error) {
	return encode(serverRequest{SetAlias: &setAlias{
		Filter: aliasFilter{Login: login},
		Data:   aliasData{Password: password},
	}})
}

// generalInfoPacket returns the packet that asks for the server's name. Only administrators may; the cheaper
// get_protos is open to customers too and would prove no rights.
func generalInfoPacket() ([]byte, error) {
	return encode(serverRequest{Get: &get{}})
}

func encode(operation serverRequest) ([]byte, error) {
	body, err := xml.Marshal(requestPacket{Server: operation})
	if err != nil {
		return nil, err
	}
	return append([]byte(xml.Header), body...), nil
}
