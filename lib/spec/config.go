package spec

// Layers are the raw values of the three levels of config and of the app's
// secrets, as read from Consul KV. Values are bytes in a string, unchanged.
type Layers struct {
	Shared  map[string]string // svc/shared/config/
	App     map[string]string // svc/apps/<app>/config/
	Service map[string]string // svc/apps/<app>/<service>/config/
	Secrets map[string]string // svc/apps/<app>/secrets/
	Skipped []string          // keys that were there and could not be used, each with its reason
	Prefix  string            // SVC_PREFIX, for messages; "" is svc
}

// Values are what one service gets: the layers merged, required keys present.
type Values struct {
	Env     map[string]string // every config key
	Origin  map[string]string // config key → "shared", "app" or "service"
	Secrets map[string]string // only the secrets that the service names
	Files   []Rendered        // rendered templates, sorted by To
}

// Rendered is one template after rendering.
type Rendered struct {
	To      string // absolute path in the container
	Content []byte
}

// About is what a template can know of where it is rendered.
type About struct {
	App, Service, Release, Node, Zone, Datacenter string
}
