# frozen_string_literal: true

# The web application: a Rack app is anything that answers call(env).
class App
  ROUTES = {
    "/" => ->(_env) { [200, "hello from {{name}}\n"] },
    # Says whether this process can do its work; ask what it depends on here.
    "/healthz" => ->(_env) { [200, "ok\n"] }
  }.freeze

  def call(env)
    status, text = ROUTES.fetch(env["PATH_INFO"], ->(_env) { [404, "not found\n"] }).call(env)
    [status, { "content-type" => "text/plain; charset=utf-8" }, [text]]
  end
end
