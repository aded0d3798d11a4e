package delivery

import (
	"io/fs"
	"syscall"
)

// ownerOf is who a file belongs to; -1 when the system does not say.
func ownerOf(info fs.FileInfo) Owner {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return Owner{UID: int(stat.Uid), GID: int(stat.Gid)}
	}
	return Owner{-1, -1}
}
