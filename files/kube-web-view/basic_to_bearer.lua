-- Browsers have a form for HTTP Basic, and none for tokens: the password becomes the token of a Bearer header.
-- What it is worth, the next filter decides. The user's name says nothing.

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64_decoded(text)
  local bytes, bits, count = {}, 0, 0
  for char in text:gmatch("[%w+/]") do
    bits, count = bits * 64 + ALPHABET:find(char, 1, true) - 1, count + 6
    if count >= 8 then
      count = count - 8
      bytes[#bytes + 1] = string.char(math.floor(bits / 2 ^ count))
      bits = bits % 2 ^ count
    end
  end
  return table.concat(bytes)
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local basic = (headers:get("authorization") or ""):match("^[Bb][Aa][Ss][Ii][Cc] +([%w+/]+=*)$")
  local token = basic and base64_decoded(basic):match("^[^:]*:([%w._-]+)$")
  if token then
    headers:replace("authorization", "Bearer " .. token)
  end
end
