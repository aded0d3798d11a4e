# frozen_string_literal: true

require "minitest/autorun"
require_relative "app"

class AppTest < Minitest::Test
  def get(path)
    status, _headers, body = App.new.call({ "PATH_INFO" => path })
    [status, body.join]
  end

  def test_front_page
    assert_equal [200, "hello from {{name}}\n"], get("/")
  end

  def test_health
    assert_equal [200, "ok\n"], get("/healthz")
  end

  def test_unknown_path
    assert_equal 404, get("/nothing").first
  end
end
