-- R id token sku quantity ttl_ms made_ms
--   made_ms: when the sidecar minted the id, 0 for a client's own id
--   { 'STALE' } a minted id older than the memory of it
--   1 reserved (or reserved before by the same id) · { word } · { 'INSUFFICIENTSTOCK', asked, available, retry_ms or -1 }
OPERATIONS.R = { arity = 6, id = 1, sku = 3, run = function(first)
  local id, token, sku = ARGV[first], ARGV[first + 1], ARGV[first + 2]
  local quantity, ttl_ms, made_ms = number(ARGV[first + 3]), number(ARGV[first + 4]), number(ARGV[first + 5])
  local h = hold_of(id)
  if h then
    if h.sku ~= sku or h.quantity ~= quantity then return { 'CONFLICT' } end
    if h.token == token or h.state == 'o' then return 1 end
    if h.state == 'c' then return { 'ALREADYCOMMITTED' } end
    if h.state == 'r' then return { 'ROLLEDBACK' } end
    return { 'EXPIRED' }
  end
  -- A minted id past its memory is an old sending that was held up on its way: its record may be forgotten already.
  if made_ms > 0 and made_ms + remember_ms <= now then return { 'STALE' } end
  local s = stock_of(sku)
  if not s then return { 'UNKNOWNSKU' } end
  local refused = refusal(sku, s, quantity)
  if refused then return refused end
  s.available, s.reserved = s.available - quantity, s.reserved + quantity
  stock_changed[sku] = true
  if holds[id] then ended_removed['h' .. id] = true end -- a forgotten record gives way
  local expires, n = now + ttl_ms, holds_new_n
  local record = 'o ' .. ARGV[first + 3] .. record_times(expires) .. token .. ' - ' .. open_prefix(sku)
  holds[id] = record
  holds_new[n + 1] = id
  holds_new[n + 2] = record
  holds_new_n = n + 2
  open_set(id, sku, expires)
  return 1
end }
