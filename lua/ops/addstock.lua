-- A key sku delta own_id (1 where the key is the client's operation id, 0 where it is the sidecar's token)
--   { 1, available now } · { word } · { 'INSUFFICIENTSTOCK', asked, available, retry_ms or -1 }
OPERATIONS.A = { arity = 4, op = 1, sku = 2, run = function(first)
  define_settling()
  local key, sku, delta, own_id = ARGV[first], ARGV[first + 1], tonumber(ARGV[first + 2]), ARGV[first + 3] == '1'
  local s = stock_of(sku)
  local seen = op_seen(key)
  if seen then
    if not own_id then return { 1, seen[2] } end
    if seen[2] ~= sku or seen[3] ~= delta then return { 'CONFLICT' } end
    if not settle(sku, NUMBER_MAX) then return STOP end
    return { 1, s.available }
  end
  if not s then
    if delta < 0 then return { 'UNKNOWNSKU' } end
    s = stock_new()
  elseif not settle(sku, NUMBER_MAX) then
    return STOP
  end
  if delta < 0 then
    local refused = refusal(sku, s, -delta)
    if refused then return refused end
  elseif s.available + s.reserved + s.committed + delta > NUMBER_MAX then
    return { 'OVERFLOW' }
  end
  s.available = s.available + delta
  stock[sku] = s
  stock_changed[sku] = true
  if own_id then
    op_remember(key, remember_ms, sku, delta)
  else
    op_remember(key, ops_memory_ms, s.available)
  end
  return { 1, s.available }
end }
