#include "model/training/corpus/wide_nouns.h"

namespace baleen::training {
namespace {

// Own list; no source to cite.
constexpr std::string_view kText =
    "acorn actor address adult advert agenda airport alarm album alley almond alphabet anchor "
    "angle animal ankle answer antenna apple apron arch archive arena argument armchair army "
    "arrow article ash atlas attic auction audience author autumn award axe axle baby "
    "backpack badge bag bakery balcony ball balloon bamboo banana band bandage bank banner "
    "barn barrel barrier basement basin basket bath beach beacon beam bean bear beard bed bee "
    "beetle bell belt bench berry bicycle bill bin biscuit blade blanket blog blossom board "
    "body bolt bone bonus boot border bottle bottom boundary bowl box bracelet bracket brain "
    "brake brand bread breakfast breeze brick bride brief broom brother brush bubble bucket "
    "bug building bulb bullet bundle bus bush butcher butter button cabin cabinet cable cafe "
    "cage cake calendar calf camel camp canal candle candy canvas canyon cap cape captain "
    "caravan card career cargo carpet carrot cart cartoon castle cat catalogue cave ceiling "
    "cellar cell cement census centre ceremony certificate chain chair chalk champion charge "
    "chart cheese chef chemist cherry chess chest chicken chief child chimney chip choice "
    "choir church cinema circle circuit citizen claim class clause clay client cliff clinic "
    "cloth cloud clover club cluster coach coast coat cobweb code coffee coin collar "
    "collection college colony column comb comet committee community company compass computer "
    "concert condition conference connection console contest contract copper coral cord core "
    "corn corner corridor cottage cotton couch council counter country coupon court cousin "
    "cover cow crab crane crate crayon cream credit creek crew cricket crop crown crystal cup "
    "cupboard curtain curve cushion cycle dairy dam dance dashboard data database daughter "
    "deadline dealer debt deck deer delivery demand dentist deposit depot desert design desk "
    "detail dial diary dictionary diet digit dinner direction disc discount dish disk "
    "district ditch document dog doll dolphin dome donkey donor dose dot draft dragon drain "
    "drawer drawing dress drill drink driver drone drum duck dust duty eagle ear earring "
    "earth edge editor egg elbow election elephant elevator embassy empire entrance entry "
    "envelope episode error essay estate eyebrow fabric face factory fair family fan feast "
    "feather feature fee fence ferry festival fever fiction figure filter finger fire firm "
    "fish flag flame flask flat fleet flock flood floor flour flower flute fog food foot "
    "forest fork form fort fossil fountain fox fraction frame freezer friend frog frost fruit "
    "fuel function fund funnel furnace fuse galaxy gallery game gang garage garlic garment "
    "gas gate gauge gear gem ghost giant gift giraffe glacier glass globe glove goat gold "
    "goose grain grandfather grape graph grass grave grill grocery guard guest guide guitar "
    "gulf habit hail hair hall hammer hammock hand handle harbour hardware harvest hat hawk "
    "headline heart hedge heel helmet hen herb herd hill hinge history hobby hole holiday "
    "honey hook horn horse hose hospital hour house hut ice icon idea index industry ink inn "
    "insect inspector instrument insurance interview iron ivory jacket jail jam jar jaw jeans "
    "jelly jewel joke jockey judge jug juice jungle jury kettle kidney king kitchen kite knee "
    "knife knight knot label laboratory lace ladder lake lamb land lane language laptop lawn "
    "lawyer layer leaf league leather lecture leg legend lemon lens leopard level lever lid "
    "lifeboat lift lily limb line lion lip liquid list litter lobby lobster locker log "
    "lottery lounge lumber lunch lung magazine magnet maid mailbox major mango manor manual "
    "marble margin mask mast mat match mattress mayor meadow meat medal medicine melody melon "
    "member memo memory merchant metal microphone milk mill mine mineral minister minute "
    "mirror mission mist mixer mobile module monitor monkey monster month monument moon mop "
    "morning mosque motel mother motor mountain mouse mouth mug muscle mushroom music nail "
    "napkin nation neck needle neighbour nephew nest net newspaper night node noise noodle "
    "nose notebook notice novel number nurse nut oak oasis oat ocean office oil olive onion "
    "opera option orange orbit orchard orchestra organ origin ornament otter oven owl oyster "
    "package paddle paint pair palace palm pan panel panther paper parachute parade parent "
    "park parrot part partner party passage passenger passport password pasta pasture patch "
    "path pattern pavement pea peach peak peanut pear pearl pebble pen pencil penguin pension "
    "pepper perfume period permit person petal petrol pharmacy piano picnic picture pie pier "
    "pig pigeon pile pill pillow pilot pin pipe pirate pitch pizza planet plank plate "
    "platform plough plug plum pocket point police pollen pond pony pool porch port porter "
    "portrait position poster pot potato pottery powder prayer prince prison prize programme "
    "promise proof property pudding puddle pulse pumpkin pupil puppet puppy purse puzzle "
    "pyramid quarter queen question quilt quiz rabbit race rack raft rail rain raincoat ranch "
    "range raven razor receipt receiver recipe reef referee refund region register relay "
    "remedy repair reply request reserve resort restaurant review reward ribbon rice rider "
    "rifle ring river road rock rocket rod roll roof root rope rose round rubber rug ruler "
    "runner sack saddle safe sailor salad salary sale salmon salon salt sand sandwich "
    "satellite sauce saucer sausage scale scarf scene schedule scholar science scissors score "
    "scout scratch screw script sculpture sea seal seat secret section seed segment seller "
    "sentence series session setting shadow shaft shark shed sheep sheet shelter shepherd "
    "shield shirt shoe shore shoulder shovel shower shrimp sign silk silver singer sink siren "
    "sister site sketch ski skin skirt sky slice slide slipper slogan slope slot smoke snack "
    "snail snake snow soap sock sofa software soil soldier sound soup spark speaker spear "
    "speech spice spider spoon sport spot spring spy square squirrel stable stadium staff "
    "stage stair stamp star statue steak steam steel stem step stick stomach stone stool "
    "storage store storm story stove stranger strap straw strawberry stream string stripe "
    "studio subject suburb subway suitcase summary summit sun supper surface surgeon swamp "
    "sweater swing sword symbol syrup system tablet tail tailor talent tap tape target tariff "
    "taxi tea teacher teapot teaspoon telescope temple tenant tennis tent term terminal "
    "terrace text theatre theme thermometer thread throat throne thumb thunder tide tie tiger "
    "tile timber title toast toe toilet tomato tongue tooth topic torch tournament towel town "
    "toy tractor trade trail tray treasure treaty tree tribe tripod trophy tube tulip tunnel "
    "turbine turkey turtle twig tyre umbrella uncle uniform union unit university update urn "
    "vacuum valley van vase vault vegetable veil vein vendor vessel vest vet violin virus "
    "vision vitamin voice volcano volume vote voyage wagon waist waiter wall walnut wardrobe "
    "warehouse warning warrior wasp watch water wave wax weapon website wedding weed week "
    "wheat wheel whistle widow wife willow winch wind winner winter wire witness wolf wood "
    "wool word workshop worm wound wrench wrist yacht yard yarn year yogurt zebra zipper zoo ";

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find(' ', at);
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

}  // namespace

std::span<const std::string_view> WideNouns() {
  static const std::vector<std::string_view> words = Words(kText);
  return words;
}

}  // namespace baleen::training
