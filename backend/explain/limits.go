package explain

import "fmt"

// Crowded is the error of a request that would have to wait, while as many as may wait already: for the role or connection
// (what, with its name), or on the whole mount.
func Crowded(what, name string, onMount bool, limit int) string {
	where := fmt.Sprintf("for %s %q already (limit: %d)", what, name, limit)
	if onMount {
		where = fmt.Sprintf("on this mount already (limit: %d)", limit)
	}
	return "nothing was changed, because too many requests are waiting " + where + ". Try again in a few seconds"
}

// TooManyRoles is the error of a request to create one more role on a connection than max_roles_per_connection allows.
func TooManyRoles(name string, roles, limit int) string {
	return fmt.Sprintf("the role was not created, because the connection %q already has %d roles, and max_roles_per_connection is %d. No password was set. Delete a role that is no longer needed, or raise the limit in MOUNT/settings", name, roles, limit)
}
