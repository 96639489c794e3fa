-- R id token sku quantity ttl_ms: a client's own id
--   1 reserved (or reserved before by the same id) · { word } · { 'INSUFFICIENTSTOCK', asked, available, retry_ms or -1 }
OPERATIONS.R = { arity = 5, id = 1, sku = 3, run = function(first)
  define_settling()
  local id, token, sku = ARGV[first], ARGV[first + 1], ARGV[first + 2]
  local quantity, ttl_ms = number(ARGV[first + 3]), number(ARGV[first + 4])
  local h = hold_of(id)
  if h then
    if h.sku ~= sku or h.quantity ~= quantity then return { 'CONFLICT' } end
    if h.token == token or h.state == 'o' then return 1 end
    if h.state == 'c' then return { 'ALREADYCOMMITTED' } end
    if h.state == 'r' then return { 'ROLLEDBACK' } end
    return { 'EXPIRED' }
  end
  local s = stock_of(sku)
  if not s then return { 'UNKNOWNSKU' } end
  local refused = refusal(sku, s, quantity)
  if refused then return refused end
  s.available, s.reserved = s.available - quantity, s.reserved + quantity
  stock_changed[sku] = true
  hold_make(id, ARGV[first + 3], sku, now + ttl_ms, token)
  return 1
end }

-- r lot sku ttl_ms made_ms runs: reservations of one lot, at its places 1, 2, …
--   made_ms: when the sidecar minted the lot's id
--   runs: pairs of a count(2) and a quantity(4), so many places one after the other of that quantity each; quantity 0: of
--         these nobody asks now
--   1 all that were asked for are reserved · { word } for all · else, one after the other, as many times as needed:
--   { reserved, refused, available, retry_ms or -1 …}: so many places were reserved, the next so many refused while so much
--   was available; those behind the last are reserved. available 'again': an earlier sending did not reserve these, nor did
--   this one, and they are to be asked anew
OPERATIONS.r = { arity = 5, sku = 2, lots = function(first, read)
  local places, runs = 0, ARGV[first + 4]
  for at = 1, #runs, 6 do places = places + unpack_number('>I2', runs, at) end
  read(ARGV[first])
  if attempt > 1 then
    for index = 0, floor((places - 1) / LOG_PLACES) do read(ARGV[first] .. char(index)) end
  end
end, run = function(first)
  local id, sku, runs = ARGV[first], ARGV[first + 1], ARGV[first + 4]
  -- An id past its memory is an old sending that was held up on its way: its record may be forgotten already.
  if ARGV[first + 3] + remember_ms <= now then return { 'STALE' } end
  -- Of a sending again whose operations are fewer: the rest of a lot may come behind what was behind the lot. The next sending
  -- finds what this one makes.
  if lots_made[id] then return STOP end
  local lot = lot_of(id)
  if lot then
    local result, place = {}, 0
    for at = 1, #runs, 6 do
      local count, quantity = unpack_number('>I2I4', runs, at)
      for _ = 1, count do
        place = place + 1
        local state = quantity > 0 and entry_of(id, lot, place)
        local there = quantity == 0 or (state and state ~= '-')
        local n = #result
        if there and (n == 0 or result[n - 2] > 0) then
          result[n + 1], result[n + 2], result[n + 3], result[n + 4] = 1, 0, 'again', -1
        elseif there then
          result[n - 3] = result[n - 3] + 1
        elseif n == 0 then
          result[1], result[2], result[3], result[4] = 0, 1, 'again', -1
        else
          result[n - 2] = result[n - 2] + 1
        end
      end
    end
    return result
  end
  local s = stock_of(sku)
  if not s then return { 'UNKNOWNSKU' } end
  local available, expires, quantities, masks, result = s.available, now + ARGV[first + 2], {}, {}, {}
  local result_n, places, taken, open, accepted = 0, 0, 0, 0, 0
  for at = 1, #runs, 6 do
    local count, quantity = unpack_number('>I2I4', runs, at)
    local fit = count
    quantities[#quantities + 1] = rep(sub(runs, at + 2, at + 5), count)
    if quantity > 0 and available < count * quantity then
      if not settled[sku] then
        define_settling()
        local before = s.available
        if not settle(sku, NUMBER_MAX) then return STOP end
        available = available + s.available - before
      end
      fit = math.max(0, math.min(count, floor(available / quantity)))
    end
    if fit > 0 then
      available, taken = available - fit * quantity, taken + fit * quantity
      if quantity > 0 then
        open = open + fit
        mask_add(masks, places, fit)
      end
      accepted = accepted + fit
    end
    if fit < count then
      local soon = soonest(sku)
      if open > 0 and (not soon or expires < soon) then soon = expires end
      local retry = soon and soon - now or -1
      if accepted == 0 and result_n > 0 and result[result_n - 1] == available and result[result_n] == retry then
        result[result_n - 2] = result[result_n - 2] + count - fit
      else
        result[result_n + 1], result[result_n + 2] = accepted, count - fit
        result[result_n + 3], result[result_n + 4] = available, retry
        result_n, accepted = result_n + 4, 0
      end
    end
    places = places + count
  end
  if open > 0 then
    s.available, s.reserved = s.available - taken, s.reserved + taken
    stock_changed[sku] = true
    lots_made[id] = lot_new(expires, sku, table.concat(quantities), places, open, masks)
    lots[id] = nil
    open_set('l', id, sku, expires)
  end
  if result_n == 0 then return 1 end
  return result
end }
