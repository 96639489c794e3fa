-- How reservations whose ids the sidecar minted are stored: those of one SKU and one time to live that one call makes are a lot,
-- one record and one member of `open` however many they are. A reservation's id is its lot's name and its place there, from 1.
--
-- A lot is made(6) expires(6) places(2) open ones(2) length of the SKU(2), which ones are open(2 for each sixteen places, the
-- lowest bit the first of them), SKU, quantity(4, one for all where they are equal, else of each place). Numbers have their
-- high byte first, times are in unix ms.
-- Its ends are logs beside it, one for each sixteen places: lot .. which sixteen, from 0 (1 byte) -> state(1) ended(6)
-- token of the commit(11) places(2) …. So an end reads and writes little, whether it comes with others or alone (what Redis's
-- Lua makes a string of it goes through byte by byte). States: o open, c committed, r rolled back, x expired,
-- m moved (its record is in `holds`), - nothing was reserved: not open, and in no log. An entry that ended is forgotten
-- `remember` later, the lot when all its entries are.
local byte, char, rep, floor, band = string.byte, string.char, string.rep, math.floor, bit.band
local LOT_HEAD, LOG_PLACES, NO_TOKEN = '>I6I6I2I2I2', 16, '-----------'
local now_packed = pack_number('>I6', now)
-- How commits and rollbacks name reservations, log after log: lot, which sixteen, of commits their token, how many places, the
-- places.
local COMMITS, ROLLBACKS = '>c19Bc11BI2', '>c19BBI2'

-- Adds `count` places behind the first `before` ones to `masks`, by which sixteen they are of.
local function mask_add(masks, before, count)
  local behind = before + count
  for index = floor(before / LOG_PLACES), floor((behind - 1) / LOG_PLACES) do
    local first, last = before - index * LOG_PLACES, behind - index * LOG_PLACES
    if first < 0 then first = 0 end
    if last > LOG_PLACES then last = LOG_PLACES end
    masks[index] = (masks[index] or 0) + 2 ^ last - 2 ^ first
  end
end

-- A new lot; `quantities` of each place.
local function lot_new(expires, sku, quantities, places, open, masks)
  local first, packed = sub(quantities, 1, 4), {}
  if quantities == rep(first, places) then quantities = first end
  for index = 0, floor((places - 1) / LOG_PLACES) do packed[index + 1] = pack_number('>I2', masks[index] or 0) end
  return now_packed .. pack_number('>I6I2I2I2', expires, places, open, #sku) .. table.concat(packed) .. sku .. quantities
end
