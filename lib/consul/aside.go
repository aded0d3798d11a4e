package consul

import (
	"context"
	"net/http"
)

// Aside puts an instance of the local agent into maintenance, which takes it out
// of DNS. One that is in maintenance stays so, with the reason that it has.
func (c *Client) Aside(ctx context.Context, id, reason string) error {
	if !instanceID.MatchString(id) {
		return badName("instance", id, "letters, digits, `.`, `_` and `-`")
	}
	q, cancel := c.reading(ctx)
	defer cancel()
	return c.fault(ctx, "take "+id+" aside", c.api.Agent().EnableServiceMaintenanceOpts(id, clean(reason, 300), q))
}

// Return ends the maintenance of an instance; it is nothing where there is none.
func (c *Client) Return(ctx context.Context, id string) error {
	if !instanceID.MatchString(id) {
		return badName("instance", id, "letters, digits, `.`, `_` and `-`")
	}
	q, cancel := c.reading(ctx)
	defer cancel()
	err := c.api.Agent().DisableServiceMaintenanceOpts(id, q)
	if statusCode(err) == http.StatusNotFound {
		return nil
	}
	return c.fault(ctx, "end maintenance of "+id, err)
}
