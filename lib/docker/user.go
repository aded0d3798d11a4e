package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/moby/sys/user"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// maxUsers bounds /etc/passwd and /etc/group of an image.
const maxUsers = 1 << 20

// User is who the container's program runs as, in the numbers of the node, so that
// files can be given to it. A name is looked up in the container's /etc/passwd, also
// before it ever ran.
func (e *Engine) User(ctx context.Context, id string) (uid, gid int, err error) {
	if uid, gid, err = e.user(ctx, id); err != nil {
		return 0, 0, err
	}
	info, err := e.Info(ctx)
	if err != nil {
		return 0, 0, err
	}
	return HostID(info, uid, gid)
}

// user is User in the container's own numbers.
func (e *Engine) user(ctx context.Context, id string) (uid, gid int, err error) {
	raw, err := e.api.ContainerInspect(ctx, id)
	if err != nil {
		return 0, 0, e.wrap(err, "inspect container %s", short(id))
	}
	name := ""
	if raw.Config != nil {
		name = raw.Config.User
	}
	if name == "" {
		return 0, 0, nil
	}
	passwd, err := e.userFile(ctx, id, "/etc/passwd")
	if err != nil {
		return 0, 0, err
	}
	group, err := e.userFile(ctx, id, "/etc/group")
	if err != nil {
		return 0, 0, err
	}
	uid, gid, err = LookupUser(passwd, group, name)
	if err != nil {
		return 0, 0, fault.New(fault.Failed, "find the user of container %s: %w", short(id), err)
	}
	return uid, gid, nil
}

// userFile is a file that an image FROM scratch does not have.
func (e *Engine) userFile(ctx context.Context, id, path string) ([]byte, error) {
	text, err := e.ReadFile(ctx, id, path, maxUsers)
	if errors.Is(err, fleet.ErrNotFound) {
		return nil, nil
	}
	return text, err
}

// LookupUser is what the engine makes of an image's USER ("", name, uid,
// name:group, uid:gid …), given the image's /etc/passwd and /etc/group, which may be
// empty. A name or group that is not in them is an error; a number need not be.
func LookupUser(passwd, group []byte, name string) (uid, gid int, err error) {
	var users, groups io.Reader = bytes.NewReader(passwd), bytes.NewReader(group)
	found, err := user.GetExecUser(name, nil, users, groups)
	if err != nil {
		return 0, 0, fmt.Errorf("user %q: %s", oneLine(name), words(err))
	}
	return found.Uid, found.Gid, nil
}

// HostID is an id of a container in the node's numbers. They are the same but on
// an engine with remapped user namespaces, whose data root is named after the
// first ids: /var/lib/docker/165536.165536.
func HostID(e fleet.Engine, uid, gid int) (hostUID, hostGID int, err error) {
	if !e.UserNS {
		return uid, gid, nil
	}
	first, second, ok := strings.Cut(path.Base(e.Root), ".")
	baseUID, err1 := strconv.Atoi(first)
	baseGID, err2 := strconv.Atoi(second)
	if !ok || err1 != nil || err2 != nil || baseUID < 0 || baseGID < 0 {
		return 0, 0, fault.New(fault.Failed, "map user %d: data root %s does not end with the first ids of the user namespace", uid, oneLine(e.Root))
	}
	return baseUID + uid, baseGID + gid, nil
}
